"""Tokens of whole documents, dealt out to buckets: what encoding (or an import) hands to packing.

One Arrow file a corpus shard, with one record batch a bucket (`pipeline.dedup.partitions`), so a packing task reads its
own part of each file. Rows: place in the global order, source (by the record's list of names), tokens with the closing
end-of-text. It does not depend on context length or packing, so that changing those encodes nothing again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.dedup.partitions import read_partition, write_partitions
from pipeline.shard import fingerprint
from pipeline.tokens.format import CODE_VERSION, SPLITS, VALIDATION
from pipeline.tokens.shuffling import Shuffle


@dataclass(frozen=True)
class Documents:
    """Encoded documents of a shard, one behind the other."""

    tokens: np.ndarray
    """uint16 or uint32 [tokens], each document closed by end-of-text."""
    starts: np.ndarray
    """int64[documents + 1]: document d is `tokens[starts[d]:starts[d + 1]]`."""
    source: np.ndarray
    """uint16[documents]: index into a list of names."""

    def __len__(self) -> int:
        return len(self.starts) - 1


def closed(tokens: np.ndarray, starts: np.ndarray, end_of_text: int) -> tuple[np.ndarray, np.ndarray]:
    """The documents with end-of-text behind each of them: tokens, and int64[documents + 1] where each begins."""
    return np.insert(tokens, starts[1:], end_of_text), starts + np.arange(len(starts))


def content_of(dtype: np.dtype[Any]) -> str:
    """What the files say they hold."""
    return f"encoded documents {fingerprint(CODE_VERSION, dtype.name)}"


def write_documents(
    directory: str,
    name: str,
    documents: Documents,
    text_bytes: np.ndarray,
    held_out: np.ndarray,
    sources: Sequence[str],
    shuffle: Shuffle | None,
) -> dict[str, Any]:
    """Write the documents by bucket to `<name>.arrow`; returns what goes into the task's record.

    Args:
        directory: The folder of encoded files.
        name: Of the shard.
        documents: All documents of the shard.
        text_bytes: int64[documents]: bytes of text of each.
        held_out: Mask of the validation documents.
        sources: Names that `documents.source` points to.
        shuffle: The order; None: that of the corpus, with one bucket a split.
    """
    count = len(documents)
    buckets = shuffle.buckets if shuffle else dict.fromkeys(SPLITS, 1)
    keys = shuffle.keys(name, count) if shuffle else np.arange(count, dtype=np.uint64)
    partition = np.zeros(count, np.int64)
    record: dict[str, Any] = {"documents": count, "text_bytes": int(text_bytes.sum()), "sources": list(sources)}
    record["splits"] = {}
    lengths = np.diff(documents.starts)
    first = 0
    for split in SPLITS:
        members = np.flatnonzero(held_out if split == VALIDATION else ~held_out)
        bucket = shuffle.bucket_of(keys[members], split) if shuffle else np.zeros(len(members), np.int64)
        partition[members] = first + bucket
        first += buckets[split]
        record["splits"][split] = {
            "tokens": np.bincount(bucket, lengths[members], buckets[split]).astype(np.int64).tolist(),
            "sources": _by_source(documents.source[members], lengths[members], text_bytes[members], sources),
        }
    column = pa.LargeListArray.from_arrays(pa.array(documents.starts), pa.array(documents.tokens))
    table = pa.table({"key": keys, "source": documents.source.astype(np.uint16), "tokens": column})
    path = storage.join(directory, f"{name}.arrow")
    content = content_of(documents.tokens.dtype)
    record["files"] = {f"{name}.arrow": write_partitions(path, table, partition, sum(buckets.values()), content)}
    return record


def _by_source(
    source: np.ndarray, lengths: np.ndarray, text_bytes: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Documents, tokens (end-of-text included) and bytes of text by source."""
    counts = [np.bincount(source, weights, len(names)).astype(np.int64) for weights in (None, lengths, text_bytes)]
    return {
        name: {key: int(count[place]) for key, count in zip(("documents", "tokens", "text_bytes"), counts, strict=True)}
        for place, name in enumerate(names)
        if counts[0][place]
    }


def read_documents(
    files: Sequence[str],
    sources: Sequence[Sequence[int]],
    partition: int,
    partitions: int,
    dtype: np.dtype[Any],
    shuffled: bool,
) -> tuple[Documents, np.ndarray]:
    """The documents of one bucket, and int64[documents]: the order in which they come.

    Args:
        files: Encoded files in the order of the corpus.
        sources: For each file, the dataset's source index of each of its names.
        partition: The bucket's place in the files.
        partitions: Number of parts in each file.
        dtype: Of the tokens.
        shuffled: Whether the order is that of the keys or of the files.

    Raises:
        UserError: a file is missing or damaged.
    """
    content = content_of(dtype)
    tables = [read_partition(file, partition, partitions, content) for file in files]
    indices = [
        np.asarray(names, np.uint16)[table["source"].to_numpy()] if table.num_rows else np.empty(0, np.uint16)
        for names, table in zip(sources, tables, strict=True)
    ]
    table = pa.concat_tables(tables)
    keys = table["key"].to_numpy()
    order = np.argsort(keys, kind="stable") if shuffled else np.arange(len(keys))
    column = table["tokens"].combine_chunks()
    starts = column.offsets.to_numpy()
    tokens = column.values.to_numpy(zero_copy_only=True)
    return Documents(tokens, starts, np.concatenate(indices)), order
