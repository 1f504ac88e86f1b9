"""MinHash signatures, and the band keys by which near-duplicates find each other.

Signatures follow Broder (1997), "On the resemblance and containment of documents": for each of P permutations of the
hash space the smallest value over the document's shingles; two documents agree at a place with probability equal to
their Jaccard similarity. The permutations are those of datasketch 2 (scheme affine32, `a*h + b mod 2^32`, a odd, the
input mixed once), so a signature equals that of `datasketch.MinHash` with the same seed and the upper 32 bits of our
shingle hashes as its hash function; its test is exactly that.

Bands (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4): documents that agree in all `rows` values of at
least one of `bands` bands become candidates; the probability is 1 - (1 - s^rows)^bands at similarity s.

Cost: 112 permutations of one million shingles take 0.1 CPU-seconds.
"""

from __future__ import annotations

import numpy as np

from pipeline.dedup.shingles import Shingles, mix

_BLOCK = 1 << 15
_FALSE_NEGATIVE_WEIGHT = 0.95


class Permutations:
    """Permutations of the 32-bit hash space, derived from a seed."""

    def __init__(self, count: int, seed: int) -> None:
        generator = np.random.RandomState(seed)
        self.factors = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        self.offsets = generator.randint(0, 1 << 32, count, dtype=np.uint32)

    def signatures(self, shingles: Shingles) -> np.ndarray:
        """The signature of each document: uint32[documents, permutations]."""
        documents = len(shingles.starts) - 1
        result = np.full((documents, len(self.factors)), np.iinfo(np.uint32).max, np.uint32)
        values = _mix32((shingles.hashes >> np.uint64(32)).astype(np.uint32))
        # Blocks stay in the processor's cache; a document may lie in several, hence the minimum with what is there.
        for begin in range(0, len(values), _BLOCK):
            block = values[begin : begin + _BLOCK]
            first = int(np.searchsorted(shingles.starts, begin, side="right")) - 1
            last = int(np.searchsorted(shingles.starts, begin + len(block), side="left"))
            starts = np.maximum(shingles.starts[first:last] - begin, 0)
            permuted = np.empty_like(block)
            for place, (factor, offset) in enumerate(zip(self.factors, self.offsets, strict=True)):
                np.multiply(block, factor, out=permuted)
                permuted += offset
                smallest = np.minimum.reduceat(permuted, starts)
                np.minimum(result[first:last, place], smallest, out=result[first:last, place])
        return result


def _mix32(values: np.ndarray) -> np.ndarray:
    mixed: np.ndarray = values ^ (values >> np.uint32(16))
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed


def band_keys(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """A 64-bit key of each band of each signature: uint64[documents, bands].

    The band's index is part of its key, so that keys of all bands can share one partitioning. Among 14 x 10^9 keys
    five pairs are equal by accident; verification removes them.
    """
    values = signatures[:, : bands * rows].reshape(len(signatures), bands, rows).astype(np.uint64)
    keys = np.broadcast_to(np.arange(1, bands + 1, dtype=np.uint64), values.shape[:2]).copy()
    for row in range(rows):
        keys = mix(keys ^ values[:, :, row]) + np.uint64(row)
    return keys


def detection_probability(similarity: np.ndarray | float, bands: int, rows: int) -> np.ndarray:
    """Probability that two documents of this Jaccard similarity agree in at least one band."""
    return np.asarray(1.0 - (1.0 - np.asarray(similarity, np.float64) ** rows) ** bands)


def choose_bands(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows that fit a target similarity best, using at most `permutations` values.

    Minimises the area of false negatives above the threshold (weight 0.95) plus that of false positives below it
    (weight 0.05): a missed duplicate stays in the corpus, a false candidate costs one comparison.
    """
    below = np.linspace(0.0, threshold, 201)
    above = np.linspace(threshold, 1.0, 201)
    best = (np.inf, 1, 1)
    for rows in range(1, permutations + 1):
        for bands in range(1, permutations // rows + 1):
            false_positives = threshold * detection_probability(below, bands, rows).mean()
            false_negatives = (1.0 - threshold) * (1.0 - detection_probability(above, bands, rows)).mean()
            error = _FALSE_NEGATIVE_WEIGHT * false_negatives + (1 - _FALSE_NEGATIVE_WEIGHT) * false_positives
            best = min(best, (float(error), bands, rows))
    return best[1], best[2]
