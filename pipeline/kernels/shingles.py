"""Shingles (runs of words) of a batch of documents as 64-bit hashes, and how similar two sets of them are.

One pass over the bytes: each character is folded (lower case, character by character) and mixed into its word's hash;
a polynomial modulo 2^64 rolls over the last `size` words, and MurmurHash3's mixer finishes it. No word and no shingle
exists as a string.

Decisions: what a character is to words stands in one table, made from Python's Unicode tables and
`pipeline.scripts.UNSPACED`; it is an argument of the kernels. Both sigmas at the end of lower-casing are one letter, so
that a word in capitals equals itself in small ones.

Cost: 280 MB of text a CPU-second. The table takes 0.03 s and 4.5 MB a process.
"""

from __future__ import annotations

import re
import sys
from functools import cache

import numpy as np

from pipeline.kernels.characters import decode
from pipeline.kernels.column import column_of
from pipeline.kernels.compiled import kernel
from pipeline.kernels.hashing import slots_for
from pipeline.scripts import UNSPACED

WHITE_SPACE = -1
_LAST_CODE = 0x3FFFF
"""Behind it are tags, variation selectors and private characters."""
_FINAL_SIGMA, _SIGMA = 0x3C2, 0x3C3
_PER_WORD = np.uint64(0x9E3779B97F4A7C15)
_PER_CHARACTER = np.uint64(0x9FB21C651E98DF25)
_NO_WORD = np.uint64(0xD1B54A32D192ED03)


@cache
def folds() -> np.ndarray:
    """int32 [1114112], read-only: of each code point what words are made of.

    A positive number is a letter, digit or underscore in lower case; a number below -1 (the code point, negative) is a
    word of its own; -1 is white space; 0 is anything else.
    """
    table = np.zeros(sys.maxunicode + 1, np.int32)
    # Surrogates are left out; a run of words ends before them in any case.
    codes = np.r_[0:0xD800, 0xE000 : _LAST_CODE + 1].astype(np.int32)
    characters = codes.tobytes().decode("utf-32-le")
    # The only character whose lower case is two: an i and a dot.
    lower = np.frombuffer(characters.replace("İ", "i").lower().encode("utf-32-le"), np.int32)
    for word in re.finditer(r"\w+", characters):
        inside = slice(*word.span())
        table[codes[inside]] = lower[inside]
    for space in re.findall(r"\s", characters):
        table[ord(space)] = WHITE_SPACE
    for run in re.findall(f"[{UNSPACED}]+", characters):
        first = ord(run[0])
        table[first : first + len(run)] = -np.arange(first, first + len(run))
    table[table == _FINAL_SIGMA] = _SIGMA
    table.flags.writeable = False
    return table


@kernel
def finish(value):  # type: ignore[no-untyped-def]
    """MurmurHash3's finalizer of 64 bits, a bijection of uint64: every input bit reaches every output bit."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@kernel
def _mixed(value, code):  # type: ignore[no-untyped-def]
    value = (value ^ np.uint64(code)) * _PER_CHARACTER
    return value ^ (value >> np.uint64(32))


@kernel
def _words_of(data, position, end, folds, words):  # type: ignore[no-untyped-def]
    """Write the hash of each word of data[position:end] to words; returns their number.

    words uint64 [at least bytes // 2 + 2]. Whether a character ends a word is arithmetic and no branch, which a
    processor would mispredict at every second word's end.
    """
    count = inside = np.int64(0)
    word = np.uint64(0)
    while position < end:
        code = np.int64(data[np.uint64(position)])
        if code < 0x80:
            position += 1
        else:
            code, position = decode(data, position, end)
        fold = np.int64(folds[np.uint64(code)])
        letter = np.int64(fold > 0)
        words[np.uint64(count)] = word
        count += inside & (1 - letter)
        inside = letter
        if fold < WHITE_SPACE:
            words[np.uint64(count)] = _mixed(np.uint64(0), -fold)
            count += 1
        word = (word ^ np.uint64(fold)) * (_PER_CHARACTER & np.uint64(-letter))
        word ^= word >> np.uint64(32)
    words[np.uint64(count)] = word
    return count + inside


@kernel
def _of_characters(data, position, end, folds):  # type: ignore[no-untyped-def]
    """What stands for a text without words: the hash of its characters that are not white space."""
    value = _NO_WORD
    while position < end:
        code, position = decode(data, position, end)
        if folds[code] == 0:
            value = _mixed(value, code)
    return value


@kernel
def shingle_hashes(data, offsets, size, folds):  # type: ignore[no-untyped-def]
    """data [bytes], offsets int64 [documents + 1], folds int32 [1114112] -> uint64 [shingles], int64 [documents + 1].

    Shingles stand in the order of the text, repeated ones repeated; the second array says where each document's begin.
    """
    documents = len(offsets) - 1
    starts = np.zeros(documents + 1, np.int64)
    longest = np.int64(0)
    for document in range(documents):
        longest = max(longest, offsets[document + 1] - offsets[document])
    words = np.empty(longest // 2 + 2, np.uint64)
    # A word takes at least a byte and, but for scripts without spaces, a separator.
    capacity = (offsets[-1] - offsets[0]) // 4 + documents + 64
    hashes = np.empty(capacity, np.uint64)
    leading = np.uint64(1)  # what a word is multiplied with when it leaves the window
    for _ in range(size):
        leading *= _PER_WORD
    count = np.int64(0)
    for document in range(documents):
        start, end = offsets[document], offsets[document + 1]
        found = _words_of(data, start, end, folds, words)
        if count + found + 1 > capacity:
            capacity = max(2 * capacity, count + found + 1)
            longer = np.empty(capacity, np.uint64)
            for index in range(count):
                longer[index] = hashes[index]
            hashes = longer
        polynomial = np.uint64(0) if found else _of_characters(data, start, end, folds)
        for place in range(min(size, found)):
            polynomial = polynomial * _PER_WORD + words[place]
        hashes[count] = finish(polynomial)
        count += 1
        for place in range(size, found):
            polynomial = polynomial * _PER_WORD + (words[place] - words[place - size] * leading)
            hashes[count] = finish(polynomial)
            count += 1
        starts[document + 1] = count
    return hashes[:count], starts


@kernel
def _equal(hashes, left, right, count):  # type: ignore[no-untyped-def]
    index = 0
    while index < count and hashes[left + index] == hashes[right + index]:
        index += 1
    return index == count


@kernel
def jaccard_of_sets(hashes, starts, first, second):  # type: ignore[no-untyped-def]
    """Jaccard similarity of pairs of sets: hashes uint64 [shingles], in any order, may repeat within a set.

    starts int64 [sets + 1]; first, second int64 [pairs]: places of the sets; quickest when pairs with the same first
    set stand together -> float64 [pairs]. No set may be empty.

    A set lies in a table of open addressing while pairs that begin with it are compared. A slot is in use when its
    number is not below that of the table's set, and was met by a pair when it is the pair's: nothing is ever cleared.
    """
    values = np.empty(len(first), np.float64)
    longest = np.int64(0)
    for pair in range(len(first)):
        for place in (first[pair], second[pair]):
            longest = max(longest, starts[place + 1] - starts[place])
    slots = slots_for(longest)
    keys, others = np.empty(slots, np.uint64), np.empty(slots, np.uint64)
    used, used_by_others = np.zeros(slots, np.int32), np.zeros(slots, np.int32)
    number = begin = size = np.int64(0)
    table_of = -1  # the pair whose first set lies in the table
    mask = np.uint64(0)
    for pair in range(len(first)):
        left, right = starts[first[pair]], starts[second[pair]]
        left_count, right_count = starts[first[pair] + 1] - left, starts[second[pair] + 1] - right
        if left_count == right_count and _equal(hashes, left, right, left_count):
            values[pair] = 1.0
            continue
        if table_of < 0 or first[pair] != first[table_of]:
            table_of = pair
            number += 1
            begin = number
            size = np.int64(0)
            mask = np.uint64(slots_for(left_count) - 1)
            for index in range(left, left + left_count):
                key = hashes[index]
                slot = key & mask
                while used[slot] >= begin and keys[slot] != key:
                    slot = (slot + np.uint64(1)) & mask
                size += used[slot] < begin
                keys[slot] = key
                used[slot] = begin
        number += 1
        union, common = size, np.int64(0)
        others_mask = np.uint64(slots_for(right_count) - 1)
        for index in range(right, right + right_count):
            key = hashes[index]
            slot = key & mask
            while used[slot] >= begin and keys[slot] != key:
                slot = (slot + np.uint64(1)) & mask
            if used[slot] >= begin:
                common += used[slot] != number
                used[slot] = number
                continue
            slot = key & others_mask
            while used_by_others[slot] == number and others[slot] != key:
                slot = (slot + np.uint64(1)) & others_mask
            union += used_by_others[slot] != number
            others[slot] = key
            used_by_others[slot] = number
        values[pair] = common / union
    return values


def warm_up() -> None:
    """Compile the kernels that Python calls."""
    column = column_of(["a b"])
    hashes, starts = shingle_hashes(column.data, column.offsets, 2, folds())
    places = np.zeros(1, np.int64)
    jaccard_of_sets(hashes, starts, places, places)
