"""The tasks that turn buckets of documents into rows, and at last what the buckets left over.

With `split` the buckets of a split are parts of one stream whose lengths are known beforehand, so each knows where its
first row begins; the two rows it shares with its neighbours are put together at the end. With `best_fit` each bucket is
packed for itself; its few emptiest rows are packed again with those of the others.

Cost: some 150 MB of tokens a CPU-second, half of it for sha256 and the disk; memory: two and a half times the tokens
of a bucket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.tokenizer.load import token_byte_lengths, tokenizer_of_worker
from pipeline.tokens.encoded import read_documents
from pipeline.tokens.format import LEFTOVERS, TokenizerFile
from pipeline.tokens.packing import Pieces, fit_documents, fit_pieces, split_documents
from pipeline.tokens.rows import read_leftovers, write_leftovers, write_rows
from pipeline.tokens.settings import TokensSettings

EMPTIEST_ROWS = 4
"""Rows of a bucket that are at most packed again with those of other buckets (best_fit)."""
FULL_ENOUGH = 31 / 32
"""Share of a row's places from which on it is not packed again."""


def pack_bucket(
    directory: str,
    name: str,
    files: Sequence[str],
    sources: Sequence[Sequence[int]],
    partition: int,
    partitions: int,
    phase: int,
    settings: TokensSettings,
    tokenizer: TokenizerFile,
) -> dict[str, Any]:
    """Task: write the rows of one bucket to `<name>-*.arrow` and its leftovers to a file of their own.

    Args:
        directory: Of the dataset.
        name: Of the bucket's files: split and number, `train/shard-00003`.
        files: The encoded files.
        sources: For each file, the dataset's index of each of its sources.
        partition: The bucket's place in the files.
        partitions: Number of parts in each file.
        phase: With `split`: the place in a row at which the bucket's part of the stream begins.
        settings: Packing, context length, size of files, whether the order is shuffled.
        tokenizer: Type and special tokens.

    Returns the record: sha256 of the files, shards as `tokens.json` lists them, target tokens and padding.
    """
    documents, order = read_documents(files, sources, partition, partitions, tokenizer.dtype, settings.shuffle)
    length = settings.context_length
    content = (documents.tokens, documents.starts, order, length)
    if settings.packing == "split":
        pieces, left = split_documents(*content, phase, tokenizer.end_of_text)
    else:
        pieces = fit_documents(*content, tokenizer.end_of_text)
        left = _in_emptiest_rows(pieces, length)
    whole, leftover = pieces.where(~left), pieces.where(left)
    # Leftover rows leave gaps in the numbers.
    numbers, places = np.unique(whole.rows, return_inverse=True)
    whole = Pieces(whole.starts, whole.lengths, whole.document, whole.contexts, places, whole.offsets)
    record = _write(directory, name, documents.tokens, documents.source, whole, len(numbers), settings, tokenizer)
    file = leftovers_file(name)
    url = storage.join(directory, file)
    record["files"][file] = write_leftovers(url, documents.tokens, documents.source, leftover)
    return record


def pack_leftovers(
    directory: str, name: str, leftovers: Mapping[str, str], settings: TokensSettings, tokenizer: TokenizerFile
) -> dict[str, Any]:
    """Task: write the rows that the leftovers of all buckets of a split fill; what cannot fill one is lost (`split`).

    `leftovers`: the buckets' files, in order, and the sha256 of each.

    Returns the record: as `pack_bucket`, and the tokens that were lost with the bytes of their text.
    """
    rest = read_leftovers({storage.join(directory, file): sha256 for file, sha256 in leftovers.items()})
    lengths = np.diff(rest.starts)
    number, length = np.arange(len(lengths)), settings.context_length
    if settings.packing == "split":
        before = np.cumsum(lengths) - lengths
        rows, offsets = np.divmod(before, length)
        pieces = Pieces(rest.starts[:-1], lengths, number, rest.contexts, rows, offsets)
        full = int(lengths.sum()) // length
    else:
        goes_on = rest.contexts != tokenizer.end_of_text
        pieces = fit_pieces(rest.starts[:-1], lengths, number, rest.contexts, goes_on, length)
        full = int(pieces.rows.max(initial=-1)) + 1
    kept = pieces.rows < full
    lost = rest.tokens[int(rest.starts[:-1][~kept].min(initial=len(rest.tokens))) :]
    record = _write(directory, name, rest.tokens, rest.source, pieces.where(kept), full, settings, tokenizer)
    record["lost_tokens"] = len(lost)
    record["lost_text_bytes"] = 0
    if len(lost):
        encoder = tokenizer_of_worker(tokenizer.url, tokenizer.sha256)
        record["lost_text_bytes"] = int(token_byte_lengths(encoder)[lost].sum())
    return record


def leftovers_file(name: str) -> str:
    """Where the leftovers of a bucket lie, by the name of its files."""
    return f"{LEFTOVERS}/{name.replace('/', '-')}.arrow"


def _in_emptiest_rows(pieces: Pieces, context_length: int) -> np.ndarray:
    """Mask of the pieces in the rows that are worth being packed again."""
    filled = np.bincount(pieces.rows, pieces.lengths)
    emptiest = np.argsort(filled, kind="stable")[:EMPTIEST_ROWS]
    return np.isin(pieces.rows, emptiest[filled[emptiest] < FULL_ENOUGH * context_length])


def _write(
    directory: str,
    name: str,
    tokens: np.ndarray,
    source: np.ndarray,
    pieces: Pieces,
    rows: int,
    settings: TokensSettings,
    tokenizer: TokenizerFile,
) -> dict[str, Any]:
    shape = (rows, settings.context_length, tokenizer.padding, settings.shard_bytes)
    shards = write_rows(directory, name, tokens, source, pieces, *shape)
    targets = int(pieces.lengths.sum())
    return {
        "files": {shard["file"]: shard["sha256"] for shard in shards},
        "shards": shards,
        "target_tokens": targets,
        "padding_tokens": rows * settings.context_length - targets,
    }
