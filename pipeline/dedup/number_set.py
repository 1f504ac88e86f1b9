"""A set of document numbers of which each has a place: what makes arrays over few of very many documents small.

One bit a number that may be in the set, and for each 64 of them the count of members before. The place of a member is
that count and the ones below its bit (rank); the member at a place is found by halving (select): Jacobson (1989),
"Space-efficient static trees and graphs".

Cost: a quarter of a byte for each number that may be in the set; 15 million places and a million members a CPU-second.
"""

from __future__ import annotations

import numpy as np

_ONE = np.uint64(1)


class NumberSet:
    """Some of the numbers 0..count-1; first all are added, then they are looked up."""

    def __init__(self, count: int) -> None:
        self._bits = np.zeros(-(-count // 64), np.uint64)
        self._before: np.ndarray | None = None

    def add(self, numbers: np.ndarray) -> None:
        """Add int64[numbers]; those that are in the set already change nothing."""
        np.bitwise_or.at(self._bits, numbers >> 6, _ONE << (numbers & 63).astype(np.uint64))
        self._before = None

    def __len__(self) -> int:
        return int(self._counts[-1])

    def places(self, members: np.ndarray) -> np.ndarray:
        """int64[members]: how many smaller ones the set holds, of numbers that are in it."""
        words = members >> 6
        below = (_ONE << (members & 63).astype(np.uint64)) - _ONE
        return np.asarray(self._counts[words] + np.bitwise_count(self._bits[words] & below))

    def members(self, places: np.ndarray) -> np.ndarray:
        """int64[places]: the members at these places, in 0..len-1."""
        words = np.searchsorted(self._counts, places, side="right") - 1
        wanted = places - self._counts[words]
        bits, offset = self._bits[words], np.zeros(len(places), np.int64)
        for width in (32, 16, 8, 4, 2, 1):
            below = np.bitwise_count(bits & np.uint64((1 << width) - 1)).astype(np.int64)
            above = wanted >= below
            wanted -= np.where(above, below, 0)
            offset += np.where(above, width, 0)
            bits = np.where(above, bits >> np.uint64(width), bits)
        return words * 64 + offset

    @property
    def _counts(self) -> np.ndarray:
        """int64[words + 1]: members before each word, and at the end all."""
        if self._before is None:
            self._before = np.zeros(len(self._bits) + 1, np.int64)
            np.cumsum(np.bitwise_count(self._bits), dtype=np.int64, out=self._before[1:])
        return self._before
