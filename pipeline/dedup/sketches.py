"""Sketches of documents from which their similarity is estimated when the texts are not at hand.

b-bit minwise hashing (Li and König, "b-Bit Minwise Hashing", WWW 2010): of each of 256 MinHash values one byte is kept.
Two documents agree at a place if their MinHash values are equal (with probability s, their Jaccard similarity), or
else by accident with probability 1/256; taking that out of the share of agreeing places leaves an unbiased estimate.
Its standard error is sqrt(s (1 - s) / 256): 0.025 at 0.8.

Decisions: the permutations are others than those of the band keys. Documents are compared because they agree in a band;
an estimate from the same values would count that agreement again and be too high. The byte is one that a multiplication
mixes: the smallest of many values has small upper bytes.

Cost: 0.025 CPU-seconds for a million shingles, 256 bytes a document.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pipeline.dedup.shingles import Shingles
from pipeline.dedup.signatures import Permutations, Scheme

SKETCH_BYTES = 256
"""Places of a sketch."""
_PART_PAIRS = 1 << 14
_OTHER_SEED = 0x5BD1E995
_ACCIDENT = 1 / 256


@lru_cache(maxsize=4)
def permutations(count: int, seed: int, scheme: Scheme) -> Permutations:
    """Those of `Permutations`, drawn once for all batches."""
    return Permutations(count, seed, scheme)


def sketches(sets: Shingles, seed: int, scheme: Scheme) -> np.ndarray:
    """The sketch of each document: uint8[documents, SKETCH_BYTES]; `seed` is that of the band keys."""
    values = permutations(SKETCH_BYTES, (seed + _OTHER_SEED) % (1 << 32), scheme).signatures(sets)
    bits = 8 * values.dtype.itemsize
    factor = values.dtype.type(0x9E3779B97F4A7C15 >> (64 - bits) | 1)
    result: np.ndarray = ((values * factor) >> values.dtype.type(bits - 8)).astype(np.uint8)
    return result


def estimated_similarity(left: np.ndarray, right: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Estimate of the Jaccard similarity of pairs: float64[pairs] in 0..1, and 1 where both sketches are equal.

    Args:
        left: uint8[documents, SKETCH_BYTES].
        right: uint8[documents, SKETCH_BYTES].
        first: int64[pairs]: rows of `left`.
        second: int64[pairs]: rows of `right`.
    """
    agreeing = np.empty(len(first), np.float64)
    for begin in range(0, len(first), _PART_PAIRS):
        part = slice(begin, begin + _PART_PAIRS)
        agreeing[part] = (left[first[part]] == right[second[part]]).mean(axis=1)
    return np.asarray(np.maximum((agreeing - _ACCIDENT) / (1 - _ACCIDENT), 0.0))
