"""JSON Lines whose objects hold nothing but texts under known names, as columns of bytes: one pass, no object a line.

The grammar is RFC 8259's, of which only objects of texts and nulls are taken; whatever else stands in the block makes
it refused as a whole. Whether the bytes are UTF-8 is not looked at.

Decisions: eight bytes are looked at together (a quote, a backslash or a control character among them shows in one bit
of each byte: Warren, Hacker's Delight, 6-1) and written together. Columns are as long as the block, which nothing can
exceed: memory that is never written takes no room.

Cost: 1.5 GB of JSON a CPU-second.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compiled import kernel
from pipeline.kernels.hashing import load

_NO = np.int64(-1)
_SHORTEST_LINE = 5
"""Bytes of a line with a text under an empty name: `{"":""}` and a line end are more."""
_ROOM = 8
_EACH = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_CONTROLS = np.uint64(0x2020202020202020)
_QUOTES = np.uint64(0x2222222222222222)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)


@kernel
def _store(target, position, word):  # type: ignore[no-untyped-def]
    place = np.uint64(position)
    for byte in range(8):
        target[place + np.uint64(byte)] = np.uint8(word >> np.uint64(8 * byte))


@kernel
def _hexadecimal(data, position):  # type: ignore[no-untyped-def]
    """The number that four digits are, or -1."""
    value = np.int64(0)
    for index in range(position, position + 4):
        digit = np.int64(data[index])
        letter = digit | 0x20
        if 48 <= digit <= 57:
            digit -= 48
        elif 97 <= letter <= 102:
            digit = letter - 87
        else:
            return _NO
        value = value << 4 | digit
    return value


@kernel
def _code_point(data, position, end):  # type: ignore[no-untyped-def]
    """The character that \\uXXXX at a position stands for, and the position behind it; -1 when it is none."""
    if position + 6 > end:
        return _NO, position
    code = _hexadecimal(data, position + 2)
    position += 6
    if 0xD800 <= code < 0xDC00 and position + 6 <= end and data[position] == 92 and data[position + 1] == 117:
        low = _hexadecimal(data, position + 2)
        if 0xDC00 <= low < 0xE000:
            return 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00, position + 6
    if 0xD800 <= code < 0xE000:
        return _NO, position
    return code, position


@kernel
def _write_character(code, target, written):  # type: ignore[no-untyped-def]
    if code < 0x80:
        target[written] = code
        return written + 1
    if code < 0x800:
        target[written] = 0xC0 | code >> 6
        target[written + 1] = 0x80 | code & 0x3F
        return written + 2
    if code < 0x10000:
        target[written] = 0xE0 | code >> 12
        target[written + 1] = 0x80 | code >> 6 & 0x3F
        target[written + 2] = 0x80 | code & 0x3F
        return written + 3
    target[written] = 0xF0 | code >> 18
    target[written + 1] = 0x80 | code >> 12 & 0x3F
    target[written + 2] = 0x80 | code >> 6 & 0x3F
    target[written + 3] = 0x80 | code & 0x3F
    return written + 4


@kernel
def _text(data, position, end, target, written, escapes):  # type: ignore[no-untyped-def]
    """Write the text whose opening quote stands before the position to the target, of which so much is written.

    Returns the position behind its closing quote, -1 when it is not valid, and how much is written then.
    """
    while position < end:
        if position + 8 <= end:
            word = load(data, position)
            _store(target, written, word)
            quotes, backslashes = word ^ _QUOTES, word ^ _BACKSLASHES
            found = (quotes - _EACH) & ~quotes | (backslashes - _EACH) & ~backslashes | (word - _CONTROLS) & ~word
            found &= _HIGH
            if found == 0:
                position += 8
                written += 8
                continue
            # Below the lowest bit that is set no byte is special: their number.
            plain = np.int64((((found & -found) - np.uint64(1)) & _EACH) * _EACH >> np.uint64(56)) - 1
            position += plain
            written += plain
        byte = np.int64(data[position])
        if byte == 34:
            return position + 1, written
        if byte < 0x20:
            return _NO, written
        if byte != 92:
            target[written] = byte
            position += 1
            written += 1
            continue
        if position + 1 >= end:
            return _NO, written
        kind = data[position + 1]
        if kind == 117:
            code, position = _code_point(data, position, end)
            if code < 0:
                return _NO, written
            written = _write_character(code, target, written)
        elif escapes[kind]:
            target[written] = escapes[kind]
            position += 2
            written += 1
        else:
            return _NO, written
    return _NO, written


@kernel
def _behind_space(data, position, end):  # type: ignore[no-untyped-def]
    while position < end and (data[position] == 32 or data[position] == 9 or data[position] == 13):
        position += 1
    return position


@kernel
def _behind(data, position, end, byte):  # type: ignore[no-untyped-def]
    """The position behind a byte with space around it, -1 when another stands there."""
    position = _behind_space(data, position, end)
    if position >= end or data[position] != byte:
        return _NO
    return _behind_space(data, position + 1, end)


@kernel
def _field(data, position, end, names, name_ends):  # type: ignore[no-untyped-def]
    """Which name stands in quotes at a position, -1 for another one, and the position behind its closing quote."""
    begin = np.int64(0)
    for field in range(len(name_ends)):
        length = name_ends[field] - begin
        if position + length < end and data[position + length] == 34:
            equal = True
            for index in range(length):
                equal &= data[position + index] == names[begin + index]
            if equal:
                return field, position + length + 1
        begin = name_ends[field]
    return _NO, position


@kernel
def columns_of_lines(data, names, name_ends, escapes):  # type: ignore[no-untyped-def]
    """The fields of one object a line.

    data uint8 [bytes]: lines joined by \\n; names uint8 and name_ends int64 [fields]: the different names of fields,
    one behind the other, without quotes or backslashes; escapes uint8 [256]: what a byte behind a backslash stands for,
    or 0.

    Returns the number of lines, -1 when something else than texts and nulls under these names, each once, stands on
    them; values uint8 [fields, at least the bytes]: each field's texts one behind the other; ends int32 [fields, at
    least the lines]: where each text ends; present bool of the same shape: false for null and for what is not there;
    starts int64 [at least the lines]: where each line begins.
    """
    end, fields = len(data), len(name_ends)
    most = end // _SHORTEST_LINE + 1
    values = np.empty((fields, end + _ROOM), np.uint8)
    ends = np.empty((fields, most), np.int32)
    present = np.empty((fields, most), np.bool_)
    starts = np.empty(most, np.int64)
    written = np.zeros(fields, np.int64)
    seen = np.zeros(fields, np.int64)
    position = line = np.int64(0)
    while position <= end:
        starts[line] = position
        for field in range(fields):
            present[field, line] = False
        position = _behind(data, position, end, 123)
        while position >= 0:
            if position >= end or data[position] != 34:
                return _NO, values, ends, present, starts
            field, position = _field(data, position + 1, end, names, name_ends)
            if field < 0 or seen[field] > line:
                return _NO, values, ends, present, starts
            seen[field] = line + 1
            position = _behind(data, position, end, 58)
            if position < 0 or position >= end:
                return _NO, values, ends, present, starts
            if data[position] == 34:
                position, after = _text(data, position + 1, end, values[field], written[field], escapes)
                written[field] = after
                present[field, line] = True
            elif (
                position + 4 <= end
                and data[position] == 110
                and data[position + 1] == 117
                and data[position + 2] == 108
                and data[position + 3] == 108
            ):
                position += 4
            else:
                return _NO, values, ends, present, starts
            if position < 0:
                return _NO, values, ends, present, starts
            following = _behind(data, position, end, 44)
            if following < 0:
                position = _behind(data, position, end, 125)
                break
            position = following
        if position < 0 or (position < end and data[position] != 10):
            return _NO, values, ends, present, starts
        for field in range(fields):
            ends[field, line] = written[field]
        line += 1
        position += 1
    return line, values, ends, present, starts


def warm_up() -> None:
    """Compile the kernel that Python calls."""
    data, names = np.frombuffer(b'{"a":""}', np.uint8), np.frombuffer(b"a", np.uint8)
    columns_of_lines(data, names, np.ones(1, np.int64), np.zeros(256, np.uint8))
