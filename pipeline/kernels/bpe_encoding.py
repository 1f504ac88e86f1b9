"""Encodes pieces of text as tokens: each distinct piece is merged once and then found in a table.

Two tables remember pieces. Nearly all have up to 15 bytes and up to four tokens: such a piece is its own key, half a
cache line holds it with its tokens, and there are four places where it may stand. The others have a table with their
bytes beside it. Both are bounded: the first forgets the oldest of four, the second all at once when it is full. What
they hold is compared byte by byte, so tokens depend on the text alone, whatever was encoded before.

Cost: compiled in 4 s; 20 to 40 MB of text a CPU-second, more the longer the same kind of text goes on.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.bpe_merging import ABSENT, SHORTEST_QUEUED, merge_long, merge_short
from pipeline.kernels.compiled import kernel
from pipeline.kernels.fill import fill
from pipeline.kernels.hashing import equal_bytes_between, hash_bytes, load
from pipeline.kernels.pretokens import next_piece

SHORT_BYTES = 15
"""A short piece and its length are two numbers of 64 bits."""
SHORT_TOKENS = 4
LONGEST_REMEMBERED = 255
"""Bytes of the longest piece that is remembered."""
_WAYS = 4
"""Places where a short piece may stand."""

_SPREAD = np.uint64(0x9FB21C651E98DF25)
_OTHER_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_ID_BITS, _ID = np.uint64(24), np.uint64((1 << 24) - 1)
_COUNT_BITS = np.uint64(48)
_LENGTH_BITS = np.uint64(56)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_0, _1, _2, _3, _4, _8 = (np.uint64(number) for number in (0, 1, 2, 3, 4, 8))


@kernel
def _key(data, start, end):  # type: ignore[no-untyped-def]
    """A short piece as two numbers: its bytes, the first lowest, and its length on top."""
    length = np.uint64(end - start)
    if start + 16 <= len(data):
        low = load(data, start)
        if length < _8:
            return low & ((_1 << (length * _8)) - _1), length << _LENGTH_BITS
        high = load(data, start + 8) & ((_1 << ((length - _8) * _8)) - _1)
        return low, high | length << _LENGTH_BITS
    low = high = _0
    for place in range(end - start):
        byte = np.uint64(data[start + place]) << np.uint64(8 * (place & 7))
        if place < 8:
            low |= byte
        else:
            high |= byte
    return low, high | length << _LENGTH_BITS


@kernel
def encode_pieces(  # type: ignore[no-untyped-def]
    data, offsets, classes, kind, initial, characters, pairs, shift, words, word_bytes, word_offsets,
    short, long_slots, long_bytes, long_tokens, used, ids, starts,
):  # fmt: skip
    """Encode documents; returns the number of tokens.

    data uint8 [bytes], offsets int64 [documents + 1]; classes, kind: the pre-tokenization, see `pretokens`; initial,
    characters, pairs, shift: the symbols and merges, see `bpe_merging`. words int32 [slots, -1: free]: tokens among
    which a whole piece is looked for before it is merged, by `hash_bytes`; empty where there is no such rule;
    word_bytes uint8, word_offsets int64 [tokens + 1]: their bytes.
    short uint64 [4 * slots], long_slots uint64 [4 * slots], long_bytes uint8, long_tokens uint32, used int64 [3]: what
    is remembered; slots are powers of two; zeros in the beginning.
    Filled: ids uint32 [bytes + 2], starts int64 [documents + 1].
    """
    tokens, merges = np.empty(SHORTEST_QUEUED, np.uint32), np.empty(SHORTEST_QUEUED, np.uint64)
    mask = np.uint64(len(short) // 4 - _WAYS)
    count = np.int64(0)
    for document in range(len(offsets) - 1):
        starts[document] = count
        start = offsets[document]
        while start < offsets[document + 1]:
            end = next_piece(data, start, offsets[document + 1], classes, kind)
            length = end - start
            if length <= SHORT_BYTES:
                low, high = _key(data, start, end)
                mixed = (low ^ (high * _OTHER_SPREAD)) * _SPREAD
                slot = ((mixed ^ (mixed >> _HALF)) & mask) * _4
                last = slot + np.uint64(4 * _WAYS)
                while slot < last and (short[slot] != low or short[slot + _1] != high):
                    slot += _4
                if slot < last:
                    first = short[slot + _2]
                    ids[count] = first & _ID
                    ids[count + 1] = (first >> _ID_BITS) & _ID
                    found = np.int64(first >> _COUNT_BITS)
                    if found > 2:
                        second = short[slot + _3]
                        ids[count + 2] = second & _ID
                        if found > 3:
                            ids[count + 3] = second >> _ID_BITS
                    count += found
                    start = end
                    continue
            fresh = _encode_piece(
                data, start, end, initial, characters, pairs, shift, words, word_bytes, word_offsets,
                long_slots, long_bytes, long_tokens, used, tokens, merges, ids, count,
            )  # fmt: skip
            if length <= SHORT_BYTES and fresh <= SHORT_TOKENS:
                slot = last - np.uint64(4 * _WAYS)
                last -= _4
                while last > slot:
                    last -= _1
                    short[last + _4] = short[last]
                first = np.uint64(ids[count]) | np.uint64(fresh) << _COUNT_BITS
                if fresh > 1:
                    first |= np.uint64(ids[count + 1]) << _ID_BITS
                second = _0
                if fresh > 2:
                    second = np.uint64(ids[count + 2])
                if fresh > 3:
                    second |= np.uint64(ids[count + 3]) << _ID_BITS
                short[slot], short[slot + _1], short[slot + _2], short[slot + _3] = low, high, first, second
            count += fresh
            start = end
    starts[len(offsets) - 1] = count
    return count


@kernel
def _encode_piece(  # type: ignore[no-untyped-def]
    data, start, end, initial, characters, pairs, shift, words, word_bytes, word_offsets,
    long_slots, long_bytes, long_tokens, used, tokens, merges, ids, count,
):  # fmt: skip
    """Tokens of a piece that the first table does not hold, to ids[count:]; returns how many."""
    length = end - start
    if length > LONGEST_REMEMBERED:
        return _merge_piece(
            data, start, end, initial, characters, pairs, shift, words, word_bytes, word_offsets, tokens, merges,
            ids, count,
        )  # fmt: skip
    hashed = hash_bytes(data, start, end)
    mask = np.uint64(len(long_slots) // 4 - 1)
    slot = (hashed & mask) * _4
    while long_slots[slot + _1] != _0:
        place = long_slots[slot + _1]
        if (
            long_slots[slot] == hashed
            and np.int64(place & _LOW) == length
            and equal_bytes_between(data, start, long_bytes, np.int64(place >> _HALF), length)
        ):
            place = long_slots[slot + _2]
            first, found = np.int64(place >> _HALF), np.int64(place & _LOW)
            for index in range(found):
                ids[count + index] = long_tokens[first + index]
            return found
        slot = (slot + _4) & (mask * _4)
    found = _merge_piece(
        data, start, end, initial, characters, pairs, shift, words, word_bytes, word_offsets, tokens, merges, ids, count
    )
    if length <= SHORT_BYTES and found <= SHORT_TOKENS:
        return found
    if 8 * used[0] >= len(long_slots) or used[1] + length > len(long_bytes) or used[2] + found > len(long_tokens):
        fill(long_slots, 0)
        used[0] = used[1] = used[2] = 0
        slot = (hashed & mask) * _4
    for index in range(length):
        long_bytes[used[1] + index] = data[start + index]
    for index in range(found):
        long_tokens[used[2] + index] = ids[count + index]
    long_slots[slot] = hashed
    long_slots[slot + _1] = np.uint64(used[1]) << _HALF | np.uint64(length)
    long_slots[slot + _2] = np.uint64(used[2]) << _HALF | np.uint64(found)
    used[0] += 1
    used[1] += length
    used[2] += found
    return found


@kernel
def _merge_piece(  # type: ignore[no-untyped-def]
    data, start, end, initial, characters, pairs, shift, words, word_bytes, word_offsets, tokens, merges, ids, count
):
    """Tokens of a piece by its merges, or the one token that it is, to ids[count:]; returns how many."""
    if len(words) > 0:
        word = _word(data, start, end, words, word_bytes, word_offsets)
        if word >= 0:
            ids[count] = word
            return 1
    if end - start <= SHORTEST_QUEUED:
        found = merge_short(data, start, end, initial, characters, pairs, shift, tokens, merges)
        for index in range(found):
            ids[count + index] = tokens[index]
        return found
    found = 0
    merged = merge_long(data, start, end, initial, characters, pairs, shift)
    for place in range(len(merged)):
        if merged[place] >= 0:
            ids[count + found] = merged[place]
            found += 1
    return found


@kernel
def _word(data, start, end, words, word_bytes, word_offsets):  # type: ignore[no-untyped-def]
    """The token whose bytes are data[start:end], or -1."""
    mask = np.uint64(len(words) - 1)
    slot = hash_bytes(data, start, end) & mask
    while words[slot] >= 0:
        word = words[slot]
        first, length = word_offsets[word], word_offsets[word + 1] - word_offsets[word]
        if length == end - start and equal_bytes_between(data, start, word_bytes, first, length):
            return np.int64(word)
        slot = (slot + _1) & mask
    return np.int64(-1)


@kernel
def fill_words(words, word_bytes, word_offsets):  # type: ignore[no-untyped-def]
    """Fill the table of whole pieces: words int32 [a power of two, -1 everywhere]; empty tokens are left out."""
    mask = np.uint64(len(words) - 1)
    for word in range(len(word_offsets) - 1):
        if word_offsets[word] == word_offsets[word + 1]:
            continue
        slot = hash_bytes(word_bytes, word_offsets[word], word_offsets[word + 1]) & mask
        while words[slot] >= 0:
            slot = (slot + _1) & mask
        words[slot] = word


def warm_up() -> None:
    """Compile for the types of real use."""
    data, offsets = np.zeros(1, np.uint8), np.array([0, 1], np.int64)
    classes, initial, pairs = np.zeros(256, np.uint8), np.zeros(256, np.uint32), np.full(4, ABSENT, np.uint64)
    characters = np.zeros(0, np.uint32)
    words, bounds = np.full(2, -1, np.int32), np.array([0, 1], np.int64)
    for array in (data, offsets, classes, initial, characters, pairs, words, bounds):
        array.flags.writeable = False
    fill_words(np.full(2, -1, np.int32), data, bounds)
    encode_pieces(
        data, offsets, classes, 0, initial, characters, pairs, np.uint64(63), words, data, bounds,
        np.zeros(16, np.uint64), np.zeros(16, np.uint64), np.zeros(256, np.uint8), np.zeros(256, np.uint32),
        np.zeros(3, np.int64), np.zeros(3, np.uint32), np.zeros(2, np.int64),
    )  # fmt: skip
