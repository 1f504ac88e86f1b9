"""Connected components over integers: the groups that pairs of near-duplicates form.

A component's root is its smallest member, so the result does not depend on the order of the pairs.

Decisions: numbers of 32 bits while they suffice (two thousand million members). Components are handed out in slices of
a bounded number of members, so that what is done with them need not hold all.

Cost: 4 bytes a member (8 beyond 2^31), and 0.05 to 0.3 CPU-seconds for a million pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

KERNELS = ("union_find",)
"""Modules of `pipeline.kernels` that this one calls."""
_STEP = 1 << 20
"""Members looked at in one go."""
_BINS = 1 << 14
"""Into so many ranges of roots the members are counted, to cut slices of even size."""


class Components:
    """Components of the numbers 0..count-1 under the pairs joined so far."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count, dtype=np.int32 if count < 1 << 31 else np.int64)

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Put both members of each pair into one component: int64[pairs] each."""
        from pipeline.kernels.union_find import join_pairs

        pairs = [np.ascontiguousarray(members, np.int64).view() for members in (first, second)]
        for members in pairs:
            members.flags.writeable = False
        join_pairs(self._parents, *pairs)

    def roots(self) -> np.ndarray:
        """The smallest member of each one's component: int32[count] or int64; a view that later joins change."""
        from pipeline.kernels.union_find import flatten

        flatten(self._parents)
        return self._parents

    def slices(self, members: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All members with their roots, whole components at a time, in the order of the roots' ranges.

        Args:
            members: About how many to hand out at once. A component that is larger comes as a whole.

        Yields:
            Members, ascending, and the root of each: int64[members] both; nothing is one slice without members.
        """
        roots = self.roots()
        width = max(1, -(-len(roots) // _BINS))
        counts = np.zeros(-(-len(roots) // width), np.int64)
        for begin in range(0, len(roots), _STEP):
            counts += np.bincount(roots[begin : begin + _STEP] // width, minlength=len(counts))
        before = np.cumsum(counts) - counts
        cuts = np.flatnonzero(np.diff(before // members)) + 1
        for low, high in pairwise([0, *(cuts * width).tolist(), len(roots)]):
            parts = [np.empty(0, np.int64)]
            # A root is never greater than its members: none of these lie before `low`.
            for begin in range(low, len(roots), _STEP):
                part = roots[begin : begin + _STEP]
                parts.append(np.flatnonzero((part >= low) & (part < high)) + begin)
            found = np.concatenate(parts)
            yield found, roots[found].astype(np.int64)
