"""Merges the symbols of one piece of text into tokens, as byte-pair encoding does: lowest rank first, then leftmost.

Sennrich et al. 2016 (arXiv:1508.07909), on bytes as in GPT-2 (Radford et al. 2019), or on characters, of which those
without a token of their own are spelled in bytes (Llama's way). A pair of tokens is looked up in one table of open
addressing that holds whole pairs, so nothing rests on a hash.

Decisions: a short piece is searched from end to end for its next merge, which is faster than any queue. A long one has
a heap of merges, so that a text of a million letters without a space takes no square of their number.

Cost: compiled in 3 s. 0.4 µs for a word of up to 15 bytes, 3 µs for a piece of 35; 2 to 4 MB a CPU-second for a long
one, with 16 bytes of memory for each of its bytes.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.characters import decode
from pipeline.kernels.compiled import kernel

MOST_TOKENS = 1 << 24
"""Ids and ranks lie below; 24 bits each, so that two ids fit into one key."""
SHORTEST_QUEUED = 128
"""Bytes from which on a queue is faster than searching."""

ABSENT = np.uint64(0xFFFFFFFFFFFFFFFF)
"""No pair, and no merge: above every rank."""
SPELLED = np.uint32(0xFFFFFFFF)
"""No token: the character is spelled in bytes."""
_SPREAD = np.uint64(0x9FB21C651E98DF25)
_ID_BITS = np.uint64(24)
_ID = np.uint64(MOST_TOKENS - 1)
_PLACE_BITS = np.uint64(40)
_PLACE = np.uint64((1 << 40) - 1)
_1, _2 = np.uint64(1), np.uint64(2)


@kernel
def fill_pairs(left, right, results, pairs, shift):  # type: ignore[no-untyped-def]
    """Fill the table of merges: pairs uint64 [2 * slots], `ABSENT` everywhere, slots = 2 ** (64 - shift).

    left, right, results int32 [merges], in the order of their ranks. A pair that is there twice has its last rank and
    result. Behind the pair (left << 24 | right) stands its merge (rank << 24 | result).
    """
    mask = np.uint64(len(pairs) // 2 - 1)
    for rank in range(len(left)):
        pair = np.uint64(left[rank]) << _ID_BITS | np.uint64(right[rank])
        slot = (pair * _SPREAD) >> shift
        while pairs[slot * _2] != ABSENT and pairs[slot * _2] != pair:
            slot = (slot + _1) & mask
        pairs[slot * _2] = pair
        pairs[slot * _2 + _1] = np.uint64(rank) << _ID_BITS | np.uint64(results[rank])


@kernel
def _merge_of(left, right, pairs, shift):  # type: ignore[no-untyped-def]
    """rank << 24 | result of a pair of tokens, or `ABSENT`."""
    pair = np.uint64(left) << _ID_BITS | np.uint64(right)
    slot = (pair * _SPREAD) >> shift
    while True:
        found = pairs[slot * _2]
        if found == pair:
            return pairs[slot * _2 + _1]
        if found == ABSENT:
            return ABSENT
        slot = (slot + _1) & np.uint64(len(pairs) // 2 - 1)


@kernel
def _fill_symbols(data, start, end, initial, characters, tokens):  # type: ignore[no-untyped-def]
    """The tokens of data[start:end] before any merge: fills tokens, returns how many, at most one a byte."""
    if len(characters) == 0:
        for place in range(end - start):
            tokens[np.uint64(place)] = initial[data[np.uint64(start + place)]]
        return end - start
    count, position = 0, start
    while position < end:
        code, behind = decode(data, position, end)
        token = characters[np.uint64(code)]
        if token != SPELLED:
            tokens[np.uint64(count)] = token
            count += 1
            position = behind
        while position < behind:
            tokens[np.uint64(count)] = initial[data[np.uint64(position)]]
            count += 1
            position += 1
    return count


@kernel
def merge_short(data, start, end, initial, characters, pairs, shift, tokens, merges):  # type: ignore[no-untyped-def]
    """Tokens of data[start:end], 1 to `SHORTEST_QUEUED` bytes: fills tokens, returns how many.

    initial uint32 [256]: token of each byte. characters uint32 [1114112]: token of each code point, or `SPELLED`; empty
    where bytes are the symbols. pairs and shift as in `fill_pairs`; tokens uint32 and merges uint64 [SHORTEST_QUEUED]
    are room.
    """
    count = _fill_symbols(data, start, end, initial, characters, tokens)
    for place in range(1, count):
        merges[np.uint64(place - 1)] = _merge_of(tokens[np.uint64(place - 1)], tokens[np.uint64(place)], pairs, shift)
    while count > 1:
        best, where = ABSENT, np.int64(0)
        for place in range(count - 1):
            merge = merges[np.uint64(place)]
            if merge < best:
                best, where = merge, np.int64(place)
        if best == ABSENT:
            break
        tokens[np.uint64(where)] = best & _ID
        count -= 1
        for place in range(where + 1, count):
            tokens[np.uint64(place)] = tokens[np.uint64(place + 1)]
        for place in range(where, count - 1):
            merges[np.uint64(place)] = merges[np.uint64(place + 1)]
        if where > 0:
            before = np.uint64(where - 1)
            merges[before] = _merge_of(tokens[before], tokens[np.uint64(where)], pairs, shift)
        if where < count - 1:
            following = np.uint64(where + 1)
            merges[np.uint64(where)] = _merge_of(tokens[np.uint64(where)], tokens[following], pairs, shift)
    return count


@kernel
def _rise(heap, size, entry):  # type: ignore[no-untyped-def]
    """Put an entry into heap[:size], which has room for it."""
    place = size
    while place > 0 and heap[(place - 1) >> 1] > entry:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    heap[place] = entry


@kernel
def _sink(heap, size, place, entry):  # type: ignore[no-untyped-def]
    """Put an entry at a free place of heap[:size] and let lesser ones rise above it."""
    child = 2 * place + 1
    while child < size:
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    heap[place] = entry


@kernel
def merge_long(data, start, end, initial, characters, pairs, shift):  # type: ignore[no-untyped-def]
    """Tokens of data[start:end], below 2 GiB: int32 [symbols], -1 where no token begins; arguments of `merge_short`."""
    tokens = np.empty(end - start, np.int32)
    length = _fill_symbols(data, start, end, initial, characters, tokens)
    tokens = tokens[:length]
    # Symbols of a token, at its first and at its last one: leads to the neighbours on both sides.
    sizes = np.ones(length, np.int32)
    heap = np.empty(length + 1, np.uint64)
    size = 0
    for place in range(1, length):
        merge = _merge_of(tokens[place - 1], tokens[place], pairs, shift)
        if merge != ABSENT:
            heap[size] = _entry(merge, place - 1)
            size += 1
    for parent in range(size // 2 - 1, -1, -1):
        _sink(heap, size, parent, heap[parent])
    while size > 0:
        entry = heap[0]
        size -= 1
        _sink(heap, size, 0, heap[size])
        place = int(entry & _PLACE)
        following = place + sizes[place]
        if tokens[place] < 0 or following == length:
            continue
        merge = _merge_of(tokens[place], tokens[following], pairs, shift)
        # One of the two has grown since, when their merge is another now.
        if merge == ABSENT or _entry(merge, place) != entry:
            continue
        tokens[place], tokens[following] = np.int32(merge & _ID), -1
        following += sizes[following]
        sizes[place] = sizes[following - 1] = following - place
        if size + 2 > len(heap):
            heap = _grown(heap, 2 * len(heap) + 2)
        if following < length:
            merge = _merge_of(tokens[place], tokens[following], pairs, shift)
            if merge != ABSENT:
                _rise(heap, size, _entry(merge, place))
                size += 1
        if place > 0:
            before = place - sizes[place - 1]
            merge = _merge_of(tokens[before], tokens[place], pairs, shift)
            if merge != ABSENT:
                _rise(heap, size, _entry(merge, before))
                size += 1
    return tokens


@kernel
def _entry(merge, place):  # type: ignore[no-untyped-def]
    """Orders merges by rank, then by place."""
    return (merge >> _ID_BITS) << _PLACE_BITS | np.uint64(place)


@kernel
def _grown(heap, size):  # type: ignore[no-untyped-def]
    larger = np.empty(size, np.uint64)
    for index in range(len(heap)):
        larger[index] = heap[index]
    return larger


def warm_up() -> None:
    """Compile for the types of real use."""
    numbers = np.zeros(1, np.int32)
    pairs = np.full(4, ABSENT, np.uint64)
    fill_pairs(numbers, numbers, numbers, pairs, np.uint64(63))
    data, initial, characters = np.zeros(1, np.uint8), np.zeros(256, np.uint32), np.zeros(0, np.uint32)
    for array in (data, initial, characters, pairs):
        array.flags.writeable = False
    tokens, merges = np.empty(SHORTEST_QUEUED, np.uint32), np.empty(SHORTEST_QUEUED, np.uint64)
    merge_short(data, 0, 1, initial, characters, pairs, np.uint64(63), tokens, merges)
    merge_long(data, 0, 1, initial, characters, pairs, np.uint64(63))
