"""The queue of byte-pair merges: batches of positions, the most frequent pair first.

A batch is all places where a pair of tokens came to stand side by side. Its count is the pair's total when the batch
was last looked at, which may be too high: who takes a batch compares and puts it back (`bpe_training`). Order: highest
count, then the smaller pair.

Only batches of the highest counts are kept in a heap. The others lie in chains, one for each number of bits of the
count, and are put in order when the heap is empty: most pairs are rare and never get there.

Cost: 5 ns to add a rare pair, 100 ns to take one of a heap that fits in the cache.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compiled import kernel

COUNT, PAIR, BEGIN, NEXT = 0, 1, 2, 3
"""Columns of `batches`, int64 [capacity, 4]: count, key of the pair, its first place among the positions (a batch ends
where the next one begins), and the next batch of its chain or -1."""
LEVELS = 64
"""More than the bits of any count."""


@kernel
def bits_of(count):  # type: ignore[no-untyped-def]
    """Bits that a count takes."""
    bits = 0
    while count > 0:
        count >>= 1
        bits += 1
    return bits


@kernel
def _before(batches, first, second):  # type: ignore[no-untyped-def]
    if batches[first, COUNT] != batches[second, COUNT]:
        return batches[first, COUNT] > batches[second, COUNT]
    return batches[first, PAIR] < batches[second, PAIR]


@kernel
def sink(batches, heap, size, place):  # type: ignore[no-untyped-def]
    """Let what stands at a place of the heap go down to where it belongs: heap int64 [at least size]."""
    moved = heap[place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _before(batches, heap[child + 1], heap[child]):
            child += 1
        if not _before(batches, heap[child], moved):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = moved


@kernel
def add(batches, chains, heap, size, level, batch):  # type: ignore[no-untyped-def]
    """Add a batch to the heap when its count has at least `level` bits, else to its chain.

    Args:
        batches: int64 [capacity, 4].
        chains: int64 [LEVELS]: the first batch of each chain, -1 for none.
        heap: int64 [capacity].
        size: Batches in the heap.
        level: Bits of the smallest count in the heap.
        batch: The batch to add.

    Returns:
        The heap, a larger one when it was full, and its new size.
    """
    bits = bits_of(batches[batch, COUNT])
    if bits < level:
        batches[batch, NEXT] = chains[bits]
        chains[bits] = batch
        return heap, size
    if size == len(heap):
        larger = np.empty(2 * size, np.int64)
        larger[:size] = heap
        heap = larger
    place = size
    while place and _before(batches, batch, heap[(place - 1) // 2]):
        heap[place] = heap[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place] = batch
    return heap, size + 1


@kernel
def refill(batches, chains, heap, level):  # type: ignore[no-untyped-def]
    """Fill the empty heap with the highest chain that holds any.

    Returns:
        The heap, its size (0: nothing is left) and the new level.
    """
    while level > 0:
        level -= 1
        size = 0
        batch = chains[level]
        while batch >= 0:
            size += 1
            batch = batches[batch, NEXT]
        if size == 0:
            continue
        if size > len(heap):
            heap = np.empty(2 * size, np.int64)
        batch = chains[level]
        for place in range(size):
            heap[place] = batch
            batch = batches[batch, NEXT]
        chains[level] = -1
        for place in range(size // 2 - 1, -1, -1):
            sink(batches, heap, size, place)
        return heap, size, level
    return heap, 0, level


def warm_up() -> None:
    """Compile what tests call; training inlines it."""
    batches, chains, heap = np.zeros((1, 4), np.int64), np.full(LEVELS, -1, np.int64), np.zeros(1, np.int64)
    add(batches, chains, heap, 0, LEVELS, 0)
    refill(batches, chains, heap, LEVELS)
    sink(batches, heap, 1, 0)
