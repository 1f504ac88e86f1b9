"""Candidate pairs of near-duplicates: band keys of every shard, then equal keys of every partition.

A bucket (documents with an equal key) of n documents gives at most 2n pairs, not n^2/2: each document with the
bucket's first and with the one before it. One document repeated a million times so costs two million pairs, and two
twins are still joined when the bucket's first is a stranger to both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.arrays import arrow_array, numpy_array
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.partitions import partition_name, read_partitions, write_partitions
from pipeline.dedup.shingles import shingles
from pipeline.dedup.signatures import Permutations, Scheme, band_keys
from pipeline.kernels.column import text_column
from pipeline.shard import read_batches, shard_name

_BANDS_SCHEMA = pa.schema([("key", pa.uint64()), ("document", pa.int64())])
PAIRS_SCHEMA = pa.schema([("first", pa.int64()), ("second", pa.int64())])
"""Numbers of two documents, the smaller first."""


def write_bands(
    directory: str,
    path: str,
    shard: int,
    first: int,
    partitions: int,
    content: str,
    bands: int,
    rows: int,
    shingle_words: int,
    seed: int,
    scheme: Scheme,
) -> dict[str, Any]:
    """Task: the band keys of one shard's documents, partitioned by key."""
    permutations = Permutations(bands * rows, seed, scheme)
    keys = [np.empty((0, bands), np.uint64)]
    for batch in read_batches(path):
        signatures = permutations.signatures(shingles(text_column(batch["text"]), shingle_words))
        keys.append(band_keys(signatures, bands, rows))
    flat = np.concatenate(keys).reshape(-1)
    documents = np.repeat(np.arange(first, first + len(flat) // bands), bands)
    table = pa.table([arrow_array(flat), arrow_array(documents)], schema=_BANDS_SCHEMA)
    name = f"{shard_name(shard)}.arrow"
    partition = (flat % np.uint64(partitions)).astype(np.int64)
    return {"files": {name: write_partitions(storage.join(directory, name), table, partition, partitions, content)}}


def write_pairs(
    directory: str, corpus: str, bands: str, partition: int, partitions: int, content: str, pairs_content: str
) -> dict[str, Any]:
    """Task: the candidate pairs of one partition of the keys, partitioned by the shard of the second document."""
    numbered = NumberedCorpus(corpus)
    files = [storage.join(bands, f"{shard_name(shard)}.arrow") for shard in range(numbered.shards)]
    table = read_partitions(files, partition, partitions, content)
    first, second = bucket_pairs(numpy_array(table["key"]), numpy_array(table["document"]))
    name = f"{partition_name(partition)}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name),
        pa.table([arrow_array(first), arrow_array(second)], schema=PAIRS_SCHEMA),
        numbered.shard_of(second),
        numbered.shards,
        pairs_content,
    )
    return {"files": {name: sha256}, "pairs": len(first)}


def bucket_pairs(keys: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of documents with an equal key, each pair once, ascending, the smaller document first."""
    # The sort that keeps no order is three times as fast; most keys stand alone, and the others are few.
    order = np.argsort(keys)
    fresh = _differs(keys[order])
    shared = ~fresh
    shared[:-1] |= shared[1:]
    keys, documents = _sorted_pairs(np.cumsum(fresh)[shared], documents[order[shared]])
    follows = np.flatnonzero(keys[1:] == keys[:-1]) + 1
    is_start = np.ones(len(keys), bool)
    is_start[follows] = False
    start_of = np.maximum.accumulate(np.where(is_start, np.arange(len(keys)), 0))
    first = np.concatenate([documents[follows - 1], documents[start_of[follows]]])
    second = np.concatenate([documents[follows]] * 2)
    # Two bands of one document may have equal keys only by an accident of the hash.
    two = first != second
    return unique_pairs(first[two], second[two])


def unique_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs without repetition, ascending by the first, then the second: int64[pairs], not negative."""
    first, second = _sorted_pairs(first, second)
    fresh = _differs(first) | _differs(second)
    return first[fresh], second[fresh]


def _sorted_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending by the first, then the second: int64[pairs], not negative."""
    width = int(second.max(initial=0)) + 1
    if int(first.max(initial=0)) < (1 << 63) // width - 1:
        # Both numbers as one, of which sorting is ten times as fast.
        pairs = np.sort(first * width + second)
        return pairs // width, pairs % width
    order = np.lexsort((second, first))
    return first[order], second[order]


def _differs(values: np.ndarray) -> np.ndarray:
    """bool[values]: whether each is another one than the one before it."""
    different = np.ones(len(values), bool)
    different[1:] = values[1:] != values[:-1]
    return different
