"""A global order of the documents that needs no list of them: by a hash of seed, shard and row.

The hash also says which bucket a document goes to (its highest bits), so that buckets are consecutive parts of the
order, each small enough to be sorted in memory. Equal hashes keep the order of the corpus. Without shuffling a bucket
is some consecutive shards, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FIRST_MULTIPLIER, _SECOND_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mixed(values: np.ndarray) -> np.ndarray:
    """uint64[n]: splitmix64 (Steele, Lea, Flood 2014) of uint64[n]; modulo 2^64."""
    values = np.asarray(values + _INCREMENT, np.uint64)
    values = (values ^ (values >> np.uint64(30))) * _FIRST_MULTIPLIER
    values = (values ^ (values >> np.uint64(27))) * _SECOND_MULTIPLIER
    return np.asarray(values ^ (values >> np.uint64(31)))


@dataclass(frozen=True)
class Shuffle:
    """How the documents of a split are dealt out to buckets, a power of two of them, and ordered in each."""

    seed: int
    buckets: dict[str, int]
    """Number of buckets by split."""

    def keys(self, shard: str, documents: int) -> np.ndarray:
        """uint64[documents]: place in the global order of the documents of a shard."""
        salt = np.uint64(xxhash.xxh3_64_intdigest(f"shuffle/{self.seed}/{shard}".encode()))
        return mixed(mixed(np.arange(documents, dtype=np.uint64)) + salt)

    def bucket_of(self, keys: np.ndarray, split: str) -> np.ndarray:
        """int64[n]: bucket of each key."""
        bits = self.buckets[split].bit_length() - 1
        return (keys >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(len(keys), np.int64)


def buckets_for(text_bytes: float, bucket_bytes: int) -> int:
    """The smallest power of two of buckets that hold so much text.

    A power of two, so that a corpus may grow without its old shards being encoded again each time.
    """
    return 1 << max(0, int(-(-text_bytes // bucket_bytes)) - 1).bit_length()


def consecutive(text_bytes: Sequence[int], bucket_bytes: int) -> list[range]:
    """Consecutive shards of so much text each, joined up to `bucket_bytes` (a larger shard is alone)."""
    groups: list[range] = []
    start = held = 0
    for index, size in enumerate(text_bytes):
        if index > start and held + size > bucket_bytes:
            groups.append(range(start, index))
            start, held = index, 0
        held += size
    return [*groups, range(start, len(text_bytes))]
