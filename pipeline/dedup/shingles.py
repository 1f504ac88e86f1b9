"""Documents as sets of shingles (runs of words), each shingle as a 64-bit hash.

A word is a run of letters, digits and underscores, lower-cased; each character of a script written without spaces
(Chinese, Japanese kana, Thai, Lao, Burmese, Khmer) is a word of its own, because there the whole sentence would be
one. A document of fewer words than a shingle is one shingle of all its words; one without any word is one shingle of
its characters that are not white space.

Decisions: a shingle's hash has 64 bits. Two different shingles of a corpus of 10^9 share a hash with a chance of one in
40, and then one Jaccard value is off by 1/n.

Cost: 280 MB of text a CPU-second, and 2 bytes of memory for each byte of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.kernels.column import TextColumn, column_of

KERNELS = ("shingles",)
"""Modules of `pipeline.kernels` that this one calls."""


@dataclass(frozen=True)
class Shingles:
    """The shingles of a batch of documents, one document after the other."""

    hashes: np.ndarray
    """uint64[shingles]; repeated shingles of a document are repeated here."""
    starts: np.ndarray
    """int64[documents + 1]: where each document's shingles begin; every document has at least one."""

    def of(self, document: int) -> np.ndarray:
        """The sorted set of shingles of one document."""
        return np.unique(self.hashes[self.starts[document] : self.starts[document + 1]])

    def jaccard(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Size of the intersection over size of the union of pairs of documents of the batch.

        Args:
            first: int64[pairs]: places in the batch.
            second: int64[pairs].

        Returns:
            float64[pairs].
        """
        from pipeline.kernels.shingles import jaccard_of_sets

        places = (np.ascontiguousarray(members, np.int64) for members in (first, second))
        values: np.ndarray = jaccard_of_sets(self.hashes, self.starts, *places)
        return values


def shingles(texts: Sequence[str] | TextColumn, size: int) -> Shingles:
    """The shingles of `size` words of each text."""
    from pipeline.kernels.shingles import folds, shingle_hashes

    column = texts if isinstance(texts, TextColumn) else column_of(list(texts))
    return Shingles(*shingle_hashes(column.data, column.offsets, size, folds()))
