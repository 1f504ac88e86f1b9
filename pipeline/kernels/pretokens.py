"""Cuts text into the pieces that merges never cross, as the regular expressions of GPT-2 and GPT-4 do.

`next_piece` is what the counting and the encoding call on the way; `cut` keeps all ends. Which characters are letters,
numbers, white space, set apart or fold to the letters of 's, 't, 're ... stands in a table that
`pipeline.tokenizer.characters` asks of the `tokenizers` library, so there is no second opinion on any code point.

Decisions: the alternatives of the expressions begin with different kinds of character, so one look at the first one or
two characters tells which of them matches; nothing is ever tried twice. Bytes that are no UTF-8 are characters of no
class. The library itself fails on 10 million white-space characters in a row; these kernels do not.

Cost: compiled in 3 s; 110 MB of text in many languages a CPU-second.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.borrowing import borrowing
from pipeline.kernels.characters import decode
from pipeline.kernels.compiled import kernel

OTHER, LETTER, NUMBER, SPACE, APART = range(5)
"""Class of a character. APART: set apart from what is around it, whatever that is."""
CLASS_MASK = 7
ENDS_ALONE, R, V, L, E = (step << 4 for step in range(1, 6))
"""What a character folds to, when it may stand in a contraction: s, t, m or d, which is one alone, or this letter."""
FOLD_MASK = 0xF0

GPT4 = 1
"""Kind: contractions in any case, one sign before a word is part of it, line ends stay with what is before them."""
SINGLE_DIGITS = 2
"""Kind: each number character is a piece."""
THREE_DIGITS = 4
"""Kind: number characters in threes, from the left. Without both, a run with the space before it."""
APART_EACH = 8
"""Kind: each character set apart is a piece; otherwise each run of them."""

_BLANK, _APOSTROPHE, _LINE_FEED, _RETURN, _SMALL_A = 0x20, 0x27, 0x0A, 0x0D, 0x61


@borrowing
def _look(data, position, end, classes):  # type: ignore[no-untyped-def]
    """Entry of the table for the character at a position below `end`, and the position behind it."""
    byte = data[np.uint64(position)]
    if byte < 0x80:
        return classes[np.uint64(byte)], position + 1
    code, behind = decode(data, position, end)
    return classes[np.uint64(code)], behind


@borrowing
def _ends_line(byte):  # type: ignore[no-untyped-def]
    return byte in (_LINE_FEED, _RETURN)


@borrowing
def _run_end(data, position, end, classes, wanted):  # type: ignore[no-untyped-def]
    """End of the run of characters of the class `wanted` that begins at the position, which may be empty."""
    while position < end:
        byte = data[np.uint64(position)]
        if byte < 0x80:
            if classes[np.uint64(byte)] & CLASS_MASK != wanted:
                return position
            position += 1
        else:
            code, behind = decode(data, position, end)
            if classes[np.uint64(code)] & CLASS_MASK != wanted:
                return position
            position = behind
    return position


@borrowing
def _contraction_end(data, position, end, classes, kind):  # type: ignore[no-untyped-def]
    """End of 's, 't, 're, 've, 'm, 'll or 'd whose apostrophe is at the position; the position itself for none."""
    if position + 1 >= end:
        return position
    if not kind & GPT4 and not _SMALL_A <= data[np.uint64(position + 1)] < 0x80:
        return position
    entry, behind = _look(data, position + 1, end, classes)
    first = entry & FOLD_MASK
    if first == ENDS_ALONE:
        return behind
    if first == 0 or first == E or behind >= end:
        return position
    if not kind & GPT4 and not _SMALL_A <= data[np.uint64(behind)] < 0x80:
        return position
    entry, behind = _look(data, behind, end, classes)
    return behind if entry & FOLD_MASK == (L if first == L else E) else position


@borrowing
def _numbers_end(data, position, end, classes, kind):  # type: ignore[no-untyped-def]
    """End of the piece of numbers of which the first character ends at the position."""
    if kind & SINGLE_DIGITS:
        return position
    if not kind & THREE_DIGITS:
        return _run_end(data, position, end, classes, NUMBER)
    for _ in range(2):
        if position < end:
            entry, behind = _look(data, position, end, classes)
            if entry & CLASS_MASK == NUMBER:
                position = behind
    return position


@borrowing
def _white_space_end(data, position, end, classes, kind):  # type: ignore[no-untyped-def]
    """End of the piece that begins with the white space at the position.

    All of it before a line end (GPT-4), all of it at the end of the text, and otherwise all but its last character,
    which belongs to what follows, unless it is the only one.
    """
    first, last, lines_end = position, position, position
    apart = False
    while position < end:
        byte = data[np.uint64(position)]
        entry, behind = _look(data, position, end, classes)
        if entry & CLASS_MASK != SPACE:
            apart = entry & CLASS_MASK == APART
            break
        if _ends_line(byte):
            lines_end = behind
        last, position = position, behind
    if kind & GPT4 and lines_end > first:
        return lines_end
    return position if position == end or apart or last == first else last


@borrowing
def _lines_end(data, position, end):  # type: ignore[no-untyped-def]
    """End of the line feeds and carriage returns that begin at the position."""
    while position < end:
        if not _ends_line(data[np.uint64(position)]):
            break
        position += 1
    return position


@borrowing
def next_piece(data, position, end, classes, kind):  # type: ignore[no-untyped-def]
    """End of the piece that begins at the position, which lies below `end`, the end of the text.

    data uint8 [bytes], read-only; classes uint8 [1114112] as `pipeline.tokenizer.characters` makes it; kind: the sum of
    the constants above. Each piece must be asked for at the end of the one before.
    """
    byte = data[np.uint64(position)]
    if byte == _APOSTROPHE:
        behind = _contraction_end(data, position, end, classes, kind)
        if behind > position:
            return behind
    entry, behind = _look(data, position, end, classes)
    group = entry & CLASS_MASK
    if group == LETTER:
        return _run_end(data, behind, end, classes, LETTER)
    if group == NUMBER:
        return _numbers_end(data, behind, end, classes, kind)
    if group == APART:
        return behind if kind & APART_EACH else _run_end(data, behind, end, classes, APART)
    if behind < end and (group == OTHER or byte == _BLANK or kind & GPT4):
        entry, second = _look(data, behind, end, classes)
        following = entry & CLASS_MASK
        if following == LETTER and (byte == _BLANK or (kind & GPT4 and not _ends_line(byte))):
            return _run_end(data, second, end, classes, LETTER)
        if byte == _BLANK:
            if following == OTHER:
                behind = _run_end(data, second, end, classes, OTHER)
                return _lines_end(data, behind, end) if kind & GPT4 else behind
            if following == NUMBER and not kind & (SINGLE_DIGITS | THREE_DIGITS):
                return _run_end(data, second, end, classes, NUMBER)
    if group == SPACE:
        return _white_space_end(data, position, end, classes, kind)
    behind = _run_end(data, behind, end, classes, OTHER)
    return _lines_end(data, behind, end) if kind & GPT4 else behind


@kernel
def cut(data, offsets, classes, kind, starts):  # type: ignore[no-untyped-def]
    """The ends of all pieces of some texts.

    data uint8 [bytes] and offsets int64 [documents + 1] of a text column; classes and kind as for `next_piece`;
    starts int64 [documents + 1] (filled): the first piece of each document. Returns int64 [pieces].
    """
    documents = len(offsets) - 1
    ends = np.empty((offsets[documents] - offsets[0]) // 4 + 16, np.int64)
    count = 0
    for document in range(documents):
        starts[document] = count
        position, end = offsets[document], offsets[document + 1]
        while position < end:
            position = next_piece(data, position, end, classes, kind)
            if count == len(ends):
                longer = np.empty(2 * count, np.int64)
                for index in range(count):
                    longer[index] = ends[index]
                ends = longer
            ends[count] = position
            count += 1
    starts[documents] = count
    return ends[:count].copy()


def warm_up() -> None:
    """Compile what Python calls."""
    data, offsets, classes = np.zeros(1, np.uint8), np.zeros(2, np.int64), np.zeros(128, np.uint8)
    for array in (data, offsets, classes):
        array.flags.writeable = False
    cut(data, offsets, classes, GPT4, np.zeros(2, np.int64))
