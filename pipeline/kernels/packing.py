"""Which piece goes into which row, and the copying of tokens into rows.

Best-fit decreasing (Johnson 1974; for training rows Ding et al. 2024, "Fewer truncations improve language modeling"):
the longest piece first, each into the fullest row that still has room. Rows are kept in a stack for each number of free
places, and a binary tree over those numbers tells the smallest sufficient one, so a piece costs O(log capacity).

Cost: 10 to 20 million pieces a CPU-second; copying runs at the memory's speed.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compiled import kernel


@kernel
def _first_from(tree, leaves, place):  # type: ignore[no-untyped-def]
    """The smallest index >= place whose leaf is set, -1 when none is; tree uint8 [2 * leaves]."""
    node = leaves + place
    if tree[node]:
        return place
    while node > 1:
        if node & 1 == 0 and tree[node + 1]:
            node += 1
            while node < leaves:
                node *= 2
                if not tree[node]:
                    node += 1
            return node - leaves
        node //= 2
    return -1


@kernel
def _set(tree, leaves, place, value):  # type: ignore[no-untyped-def]
    """Set or clear a leaf and what is above it."""
    node = leaves + place
    tree[node] = value
    while node > 1:
        node //= 2
        above = tree[2 * node] | tree[2 * node + 1]
        if tree[node] == above:
            return
        tree[node] = above


@kernel
def best_fit(lengths, decreasing, capacity):  # type: ignore[no-untyped-def]
    """int64[pieces]: the row of each piece, numbered in the order in which rows are opened.

    Args:
        lengths: int64 [pieces], read-only: each in [1, capacity].
        decreasing: int64 [pieces], read-only: the pieces from the longest to the shortest.
        capacity: Places in a row.
    """
    leaves = 1
    while leaves < capacity + 1:
        leaves *= 2
    tree = np.zeros(2 * leaves, np.uint8)
    top = np.empty(capacity + 1, np.int64)
    for free in range(capacity + 1):
        top[free] = -1
    below = np.empty(len(lengths), np.int64)
    rows = np.empty(len(lengths), np.int64)
    opened = 0
    for place in range(len(decreasing)):
        piece = decreasing[place]
        length = lengths[piece]
        free = _first_from(tree, leaves, length)
        if free < 0:
            row = opened
            opened += 1
            free = capacity
        else:
            row = top[free]
            top[free] = below[row]
            if top[free] < 0:
                _set(tree, leaves, free, 0)
        rows[piece] = row
        rest = free - length
        if rest > 0:
            if top[rest] < 0:
                _set(tree, leaves, rest, 1)
            below[row] = top[rest]
            top[rest] = row
    return rows


@kernel
def lay_out(tokens, starts, lengths, rows, offsets, contexts, laid):  # type: ignore[no-untyped-def]
    """Copy pieces into rows.

    Args:
        tokens: uint16 or uint32 [tokens], read-only.
        starts: int64 [pieces], read-only: where each piece begins in `tokens`.
        lengths: int64 [pieces], read-only.
        rows: int64 [pieces], read-only: the row of each.
        offsets: int64 [pieces], read-only: its first target position.
        contexts: int64 [pieces], read-only: the token before it, written where it begins its row.
        laid: as tokens, [rows, context_length + 1], changed: target t of a row stands at t + 1.
    """
    for piece in range(len(starts)):
        row, offset, start = rows[piece], offsets[piece], starts[piece]
        if offset == 0:
            laid[row, 0] = contexts[piece]
        for place in range(lengths[piece]):
            laid[row, offset + 1 + place] = tokens[start + place]


def warm_up() -> None:
    """Compile the kernels that Python calls, for both types of token ids."""
    numbers = np.ones(1, np.int64)
    zeros = np.zeros(1, np.int64)
    numbers.flags.writeable = zeros.flags.writeable = False
    best_fit(numbers, zeros, 1)
    for kind in (np.uint16, np.uint32):
        tokens = np.zeros(1, kind)
        tokens.flags.writeable = False
        lay_out(tokens, zeros, numbers, zeros, zeros, zeros, np.zeros((1, 2), kind))
