"""Writes a token dataset as Megatron-LM's .bin/.idx, one pair of files a split.

What goes out is the targets of all rows, in the order of the rows (which is shuffled where the dataset is): each token
of each document once, with its closing end-of-text. A document that goes on in the next row of its bucket (`split`) is
one document again; parts that packing put far from each other (at most two documents a bucket; with `best_fit` those
longer than a row) are documents of their own. Cost: some 200 MB of tokens a CPU-second; memory: a shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import read_batches
from pipeline.tokens.format import COLUMN, ENDS, MANIFEST, REST, SPLITS, read_tokens_manifest
from pipeline.tokens.megatron import IndexedWriter


@dataclass(frozen=True)
class Exported:
    """What was written of a split."""

    prefix: str
    """Of .bin and .idx."""
    documents: int
    tokens: int


def export_tokens(directory: str, target: str) -> list[Exported]:
    """Write `<target>/<split>.bin` and `.idx` for each split.

    Raises:
        UserError: the dataset is unfinished; one of the files is there already (nothing is written); a shard is missing
            or damaged (named; nothing of its split appears).
    """
    manifest = read_tokens_manifest(directory)
    _require_new(target)
    return [_export_split(directory, manifest, split, storage.join(target, split)) for split in SPLITS]


def require_sound(directory: str, shard: dict[str, Any]) -> None:
    """Raises UserError when a shard is not the file that `tokens.json` lists."""
    file = storage.join(directory, shard["file"])
    if not storage.exists(file):
        raise UserError(f"{file} does not exist, but {MANIFEST} lists it: run the tokens step (or the import) again")
    if storage.sha256_of(file) != shard["sha256"]:
        raise UserError(
            f"{file} does not have the sha256 that {MANIFEST} gives, it is damaged: remove it and run the tokens step "
            "(or the import) again"
        )


def _require_new(target: str) -> None:
    """Raises UserError when a file would be overwritten: nothing tells whose tokens a .bin holds."""
    for split in SPLITS:
        for ending in ("bin", "idx"):
            file = storage.join(target, f"{split}.{ending}")
            if storage.exists(file):
                raise UserError(f"{file} is there already and is not overwritten: name another folder, or remove it")


def _export_split(directory: str, manifest: dict[str, Any], split: str, prefix: str) -> Exported:
    tokens = 0
    with IndexedWriter(prefix, manifest["vocab_size"]) as writer:
        bucket, is_open = "", False
        for shard in manifest["splits"][split]["shards"]:
            require_sound(directory, shard)
            previous, bucket = bucket, shard["file"].rpartition("-")[0]
            is_stream = manifest["packing"] == "split" and not bucket.endswith(REST)
            for batch in read_batches(storage.join(directory, shard["file"])):
                targets, lengths, goes_on = _documents(batch, manifest["end_of_text_id"], is_stream)
                writer.add(targets, lengths, continues=is_open and bucket == previous)
                is_open, previous = goes_on, bucket
                tokens += len(targets)
    return Exported(prefix, writer.documents, tokens)


def _documents(batch: pa.Table, end_of_text: int, is_stream: bool) -> tuple[np.ndarray, np.ndarray, bool]:
    """The targets of a batch of rows, tokens of each document, and whether the last one goes on in the next batch."""
    rows = batch[COLUMN].combine_chunks()
    laid = rows.flatten().to_numpy().reshape(len(rows), -1)[:, 1:]
    lists = batch[ENDS].combine_chunks()
    ends, bounds = lists.values.to_numpy().astype(np.int64), lists.offsets.to_numpy()
    used = ends[bounds[1:] - 1]
    targets = laid[np.arange(laid.shape[1]) < used[:, None]]
    lengths = np.diff(ends, prepend=0)
    lengths[bounds[1:-1]] = ends[bounds[1:-1]]
    if not is_stream:
        return targets, lengths, False
    is_end = targets[np.cumsum(lengths) - 1] == end_of_text
    starts = np.flatnonzero(np.concatenate([[True], is_end[:-1]]))
    return targets, np.add.reduceat(lengths, starts), not bool(is_end[-1])
