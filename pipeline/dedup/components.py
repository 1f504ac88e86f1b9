"""Connected components over integers: the groups that pairs of near-duplicates form.

Union by hooking greater roots under smaller ones and flattening paths by pointer doubling, whole arrays at a time
(Shiloach and Vishkin, 1982, in numpy). A component's root is its smallest member, so the result does not depend on
the order of the pairs.

Cost: 8 bytes a document, and about half a CPU-second for a million pairs.
"""

from __future__ import annotations

import numpy as np


class Components:
    """Components of the numbers 0..count-1 under the pairs joined so far."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.int64)

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Put both members of each pair into one component."""
        touched = np.concatenate([first, second])
        while len(first):
            first_root, second_root = self.roots(first), self.roots(second)
            apart = first_root != second_root
            first, second = first[apart], second[apart]
            smaller = np.minimum(first_root[apart], second_root[apart])
            greater = np.maximum(first_root[apart], second_root[apart])
            np.minimum.at(self._parent, greater, smaller)
            self._flatten(np.concatenate([greater, smaller]))
        self._flatten(touched)

    def roots(self, members: np.ndarray) -> np.ndarray:
        """The smallest member of each one's component."""
        roots: np.ndarray = self._parent[members]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                return roots
            roots = above

    def _flatten(self, members: np.ndarray) -> None:
        """Let the members point to their roots; halves the paths in each round, so chains cost a logarithm."""
        while True:
            parents = self._parent[members]
            above = self._parent[parents]
            if np.array_equal(parents, above):
                return
            self._parent[members] = above
