"""Runs of tokens that occur more than once: hashes of all windows, the first of equal ones, and the proof.

Decisions: a window's hash is a polynomial of its tokens' hashes modulo 2^64, so the next one takes one step whatever
the size. Equal hashes only propose; `mark_copies` compares bytes, so no accident of a hash is ever taken for a copy.

Cost: hashing 400 MB of text a CPU-second; 0.1 microseconds a row for the first of equal hashes, and 16 bytes of memory.
Comparing is linear in the copies, but takes `size` steps a token of a text that repeats itself with a short period.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.column import column_of
from pipeline.kernels.compiled import kernel
from pipeline.kernels.hashing import equal_bytes, hash_bytes, hash_number, slots_for

# An odd 64-bit constant: the multiplier of the xorshift* generator.
_BASE = np.uint64(0x2545F4914F6CDD1D)


@kernel
def window_hashes(data, starts, ends, offsets, size):  # type: ignore[no-untyped-def]
    """Hashes of every run of `size` consecutive tokens of a document.

    data [bytes], starts and ends int64 [tokens], offsets int64 [documents + 1] -> hashes uint64 [windows], first token
    of each int64 [windows].
    """
    most = np.int64(0)
    for document in range(len(offsets) - 1):
        most += max(0, offsets[document + 1] - offsets[document] - size + 1)
    hashes, firsts = np.empty(most, np.uint64), np.empty(most, np.int64)
    tokens = np.empty(size, np.uint64)
    leading = np.uint64(1)
    for _ in range(size):
        leading *= _BASE
    count = np.int64(0)
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        if end - begin < size:
            continue
        value, place = np.uint64(0), 0
        for token in range(begin, end):
            known = hash_bytes(data, starts[token], ends[token])
            value = value * _BASE + known
            if token >= begin + size:
                value -= tokens[place] * leading
            tokens[place] = known
            place = place + 1 if place + 1 < size else 0
            if token + 1 >= begin + size:
                hashes[count] = hash_number(value)
                firsts[count] = token + 1 - size
                count += 1
    return hashes, firsts


@kernel
def first_rows(hashes):  # type: ignore[no-untyped-def]
    """Row of the first of equal hashes, for each: uint64 [rows] -> int64 [rows]."""
    slots = slots_for(len(hashes))
    table = np.full(slots, -1, np.int32) if len(hashes) < 2**31 else np.full(1, -1, np.int32)
    if len(table) < slots:
        raise ValueError("more than 2^31 rows in a partition")
    mask = np.uint64(slots - 1)
    firsts = np.empty(len(hashes), np.int64)
    for row in range(len(hashes)):
        # Mixed once more: all hashes of a partition have the same remainder.
        slot = hash_number(hashes[row]) & mask
        while table[slot] >= 0 and hashes[table[slot]] != hashes[row]:
            slot = (slot + np.uint64(1)) & mask
        if table[slot] < 0:
            table[slot] = row
        firsts[row] = table[slot]
    return firsts


@kernel
def mark_copies(data, starts, ends, copies, originals, windows, size):  # type: ignore[no-untyped-def]
    """Which tokens lie in windows that are the same, byte for byte, as the windows they are said to copy.

    data [bytes], starts and ends int64 [tokens]; copies and originals int64 [runs]: first token of the copy and of what
    it copies; windows int64 [runs]: consecutive windows of `size` tokens from there -> bool [tokens]; int64 [runs]:
    windows proven of each.
    """
    marked = np.zeros(len(starts), np.bool_)
    proven = np.zeros(len(copies), np.int64)
    for run in range(len(copies)):
        equal = 0
        for step in range(windows[run] + size - 1):
            token, original = copies[run] + step, originals[run] + step
            length = ends[token] - starts[token]
            same = length == ends[original] - starts[original]
            if same and equal_bytes(data, starts[token], starts[original], length):
                equal += 1
            else:
                equal = 0
            if equal >= size:
                proven[run] += 1
                for place in range(token if equal > size else token + 1 - size, token + 1):
                    marked[place] = True
    return marked, proven


def warm_up() -> None:
    """Compile the kernels that Python calls."""
    data = column_of(["a"]).data
    starts, ends = np.zeros(1, np.int64), np.ones(1, np.int64)
    hashes, _ = window_hashes(data, starts, ends, np.array([0, 1]), 1)
    hashes.flags.writeable = False
    first_rows(hashes)
    mark_copies(data, starts, ends, starts, starts, ends, 1)
