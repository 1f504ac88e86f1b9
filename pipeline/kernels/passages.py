"""Passages of documents: lines and paragraphs, and their hashes.

Lines are those of `str.splitlines`, paragraphs what lies between lines of white space alone; both are stripped, and
what is white space alone is none. Passages are compared by two 64-bit hashes of their folded characters: a table says
for each code point what it counts as (0: nothing); runs of white space count as one space.

Decisions: 128 bits, because among 10^11 passages 64 bits give some 300 false matches and 128 bits none.

Cost: splitting into lines 500 MB, into paragraphs 250 MB, hashing 300 MB of text a CPU-second.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.characters import classes, decode
from pipeline.kernels.column import column_of
from pipeline.kernels.compiled import kernel
from pipeline.kernels.lines import line_end, strip

NOTHING = np.uint32(0)
"""What a character counts as that is left out of the comparison."""

# Odd 64-bit constants: the golden ratio's bits and the multipliers of the xorshift and rrmxmx mixers.
_STARTS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03))
_MULTIPLIERS = (np.uint64(0x9FB21C651E98DF25), np.uint64(0x2545F4914F6CDD1D))


@kernel
def split_passages(data, offsets, character_classes, paragraphs):  # type: ignore[no-untyped-def]
    """Lines (paragraphs 0) or paragraphs (1) of each document.

    data [bytes], offsets int64 [documents + 1], character_classes uint16 [1114112] -> starts and ends int64 [passages],
    offsets int64 [documents + 1] of the passages.
    """
    most = len(offsets)
    for document in range(len(offsets) - 1):
        position, end = offsets[document], offsets[document + 1]
        while position < end:
            _, position = line_end(data, position, end)
            most += 1
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    passage_offsets = np.zeros(len(offsets), np.int64)
    count = np.int64(0)
    for document in range(len(offsets) - 1):
        position, end = offsets[document], offsets[document + 1]
        goes_on = False
        while position < end:
            start = position
            last, position = line_end(data, position, end)
            start, last = strip(data, start, last, character_classes)
            if start == last:
                goes_on = False
                continue
            if not goes_on:
                starts[count] = start
                count += 1
            ends[count - 1] = last
            goes_on = paragraphs != 0
        passage_offsets[document + 1] = count
    return starts[:count], ends[:count], passage_offsets


@kernel
def _mixed(value, other, lane):  # type: ignore[no-untyped-def]
    """One step of a hash: a bijection of `value` for each `other`."""
    value = (value ^ other) * _MULTIPLIERS[lane]
    return value ^ (value >> np.uint64(29 + 3 * lane))


@kernel
def hash_passages(data, starts, ends, offsets, folded, run):  # type: ignore[no-untyped-def]
    """Hashes of every run of `run` passages of a document, by its first passage.

    data [bytes], starts and ends int64 [passages], offsets int64 [documents + 1], folded uint32 [1114112]: what each
    code point counts as -> high and low uint64 [passages], characters int64 [passages]: those compared, -1 where a
    document has no such run.
    """
    high, low = np.empty(len(starts), np.uint64), np.empty(len(starts), np.uint64)
    characters = np.empty(len(starts), np.int64)
    for passage in range(len(starts)):
        first, second = _STARTS[0], _STARTS[1]
        count, space = np.int64(0), np.int64(0)
        position, end = starts[passage], ends[passage]
        while position < end:
            code = np.int64(data[np.uint64(position)])
            if code < 0x80:
                position += 1
            else:
                code, position = decode(data, position, end)
            compared = np.uint64(folded[np.uint64(code)])
            if compared == 0x20:
                space = np.int64(count > 0)
            elif compared:
                if space:
                    first, second = _mixed(first, np.uint64(0x20), 0), _mixed(second, np.uint64(0x20), 1)
                    space = np.int64(0)
                    count += 1
                first, second = _mixed(first, compared, 0), _mixed(second, compared, 1)
                count += 1
        length = np.uint64(count)
        high[passage] = _mixed(_mixed(first, length, 1), np.uint64(0), 0)
        low[passage] = _mixed(_mixed(second, length, 0), np.uint64(0), 1)
        characters[passage] = count
    if run > 1:
        for document in range(len(offsets) - 1):
            for passage in range(offsets[document], offsets[document + 1]):
                if passage + run > offsets[document + 1]:
                    characters[passage] = -1
                    continue
                first, second, count = _STARTS[1], _STARTS[0], np.int64(0)
                for index in range(passage, passage + run):
                    first, second = _mixed(first, high[index], 0), _mixed(second, low[index], 1)
                    count += characters[index]
                high[passage], low[passage], characters[passage] = first, second, count
    return high, low, characters


@kernel
def find_hashes(high, low, known_high, known_low):  # type: ignore[no-untyped-def]
    """Place of each hash among known ones, -1 where it is none.

    high and low uint64 [passages]; known_high and known_low uint64 [known], read-only, sorted by both
    -> int64 [passages].
    """
    places = np.empty(len(high), np.int64)
    for passage in range(len(high)):
        first, behind = np.int64(0), np.int64(len(known_high))
        while first < behind:
            middle = (first + behind) // 2
            if known_high[middle] < high[passage] or (
                known_high[middle] == high[passage] and known_low[middle] < low[passage]
            ):
                first = middle + 1
            else:
                behind = middle
        found = first < len(known_high) and known_high[first] == high[passage] and known_low[first] == low[passage]
        places[passage] = first if found else -1
    return places


def warm_up() -> None:
    """Compile the kernels that Python calls."""
    column, nothing = column_of(["a"]), np.zeros(1, np.uint64)
    starts, ends, offsets = split_passages(column.data, column.offsets, classes(), 0)
    folded = np.zeros(0x110000, np.uint32)
    folded.flags.writeable = False
    hash_passages(column.data, starts, ends, offsets, folded, 1)
    known = np.zeros(1, np.uint64)
    known.flags.writeable = False
    find_hashes(nothing, nothing, known, known)
