"""Texts without some of their passages (lines, paragraphs, sentences, words), so that the rest stays readable.

Decisions: of the gaps around what is cut out, the one with the most line feeds stays, or the blank line that was inside
of it: paragraphs do not run together. The indentation is that of the passage behind. Where no white space is left
between two kept passages that had some of the cut between them, one space is put there, if the two would grow together
to one token (`pipeline.kernels.unicode_words`), if they are words of which one is written with spaces, or if a sign
that closes or opens something would touch a word. So no word is joined with another one, and Chinese stays as it is.

Cost: 1 GB of text a CPU-second where nothing is cut; a hundred bytes are looked at for each space that may be needed.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.characters import ALPHANUMERIC, MARK, SPACE, UNSPACED, classes, decode
from pipeline.kernels.column import column_of
from pipeline.kernels.compiled import kernel
from pipeline.kernels.unicode_words import token_end

_LOOKED_AT = 64
"""Bytes on either side of a joint that decide whether two tokens grow together."""
_FIRST_WIDE = 0x3000
"""The first of the signs of East Asia, whose glyphs bring their own space."""


@kernel
def _line_feeds(data, start, end):  # type: ignore[no-untyped-def]
    """Line feeds in data[start:end], and where what follows the last one begins (`start` when there is none)."""
    feeds, behind = 0, start
    for position in range(start, end):
        if data[np.uint64(position)] == 0x0A:
            feeds += 1
            behind = position + 1
    return feeds, behind


@kernel
def _blank_lines(data, start, end):  # type: ignore[no-untyped-def]
    """The most line feeds with nothing but white space between in data[start:end], and where they begin and end."""
    most, first, behind = 0, start, start
    feeds, begun, last = 0, start, start
    for position in range(start, end):
        byte = data[np.uint64(position)]
        if byte == 0x0A:
            if feeds == 0:
                begun = position
            feeds += 1
            last = position + 1
            if feeds > most:
                most, first, behind = feeds, begun, last
        elif byte > 0x20:
            feeds = 0
    return most, first, behind


@kernel
def _closes(code):  # type: ignore[no-untyped-def]
    """Whether a word does not stand directly behind the character: , ; : ! ? . ) ] }"""
    return (
        code == 0x2C or code == 0x3B or code == 0x3A or code == 0x21 or code == 0x3F or code == 0x2E or code == 0x29
        or code == 0x5D or code == 0x7D
    )  # fmt: skip


@kernel
def _opens(code):  # type: ignore[no-untyped-def]
    """Whether the character does not stand directly behind a word: ( [ {"""
    return code == 0x28 or code == 0x5B or code == 0x7B


@kernel
def _needs_space(text, begin, joint, end, character_classes):  # type: ignore[no-untyped-def]
    """Whether text[begin:joint] and text[joint:end], which stood apart, cannot be read when they touch."""
    before = joint - 1
    while before > begin and text[before] & 0xC0 == 0x80:
        before -= 1
    left, _ = decode(text, before, joint)
    right, _ = decode(text, joint, end)
    left_class, right_class = character_classes[left], character_classes[right]
    left_word = left_class & (ALPHANUMERIC | MARK) != 0
    right_word = right_class & (ALPHANUMERIC | MARK) != 0
    if left_word and right_word and not (left_class & UNSPACED and right_class & UNSPACED):
        return True
    if (_closes(left) and right_word and not right_class & UNSPACED) or (_opens(right) and left_word):
        return True
    if not left_word and not right_word and (left >= _FIRST_WIDE or right >= _FIRST_WIDE):
        return False
    position = max(begin, joint - _LOOKED_AT)
    while position > begin and text[position] & 0xC0 == 0x80:
        position -= 1
    for place in range(position, joint):
        if text[place] <= 0x20:
            position = place + 1
    while position < joint:
        code, behind = decode(text, position, end)
        is_space = character_classes[code] & SPACE != 0
        position = behind if is_space else token_end(text, position, end, character_classes)
    return position > joint


@kernel
def cut_passages(data, text_offsets, starts, ends, offsets, removed, character_classes):  # type: ignore[no-untyped-def]
    """The texts without some passages; a document that loses none stays as it is, to the byte.

    data [bytes], text_offsets int64 [documents + 1], starts and ends int64 [passages], offsets int64 [documents + 1] of
    the passages, removed bool [passages], character_classes uint16 [1114112] -> text uint8 [bytes], offsets int64
    [documents + 1]. Between two passages is nothing but white space.
    """
    text = np.empty(text_offsets[-1] - text_offsets[0], np.uint8)
    out_offsets = np.zeros(len(text_offsets), np.int64)
    place = np.int64(0)
    for document in range(len(text_offsets) - 1):
        first, behind = offsets[document], offsets[document + 1]
        edited = False
        for passage in range(first, behind):
            edited |= removed[passage]
        if not edited:
            for position in range(text_offsets[document], text_offsets[document + 1]):
                text[np.uint64(place)] = data[np.uint64(position)]
                place += 1
        else:
            begun, cut, feeds, gap_start, gap_end = False, False, 0, np.int64(0), np.int64(0)
            for passage in range(first, behind):
                if passage > first and begun:
                    found, last_feed = _line_feeds(data, ends[passage - 1], starts[passage])
                    if found > feeds:
                        feeds, gap_start, gap_end = found, ends[passage - 1], last_feed
                if removed[passage]:
                    cut = True
                    if begun:
                        found, from_feed, last_feed = _blank_lines(data, starts[passage], ends[passage])
                        if found > max(1, feeds):
                            feeds, gap_start, gap_end = found, from_feed, last_feed
                    continue
                if begun:
                    before = place
                    for position in range(gap_start, gap_end):
                        text[np.uint64(place)] = data[np.uint64(position)]
                        place += 1
                    last_found, last_feed = _line_feeds(data, ends[passage - 1], starts[passage])
                    if last_found or not feeds:
                        for position in range(last_feed, starts[passage]):
                            text[np.uint64(place)] = data[np.uint64(position)]
                            place += 1
                    if cut and place == before:
                        # What follows may belong to the token: of a joint like the full stop the character behind it.
                        seen = min(starts[passage] + _LOOKED_AT, text_offsets[document + 1])
                        for position in range(starts[passage], seen):
                            text[np.uint64(place + position - starts[passage])] = data[np.uint64(position)]
                        end = place + seen - starts[passage]
                        if _needs_space(text, out_offsets[document], place, end, character_classes):
                            text[np.uint64(place)] = 0x20
                            place += 1
                for position in range(starts[passage], ends[passage]):
                    text[np.uint64(place)] = data[np.uint64(position)]
                    place += 1
                begun, cut, feeds, gap_start, gap_end = True, False, 0, np.int64(0), np.int64(0)
        out_offsets[document + 1] = place
    return text[:place], out_offsets


def warm_up() -> None:
    """Compile the kernels that Python calls."""
    column, one = column_of(["a"]), np.ones(1, np.int64)
    cut_passages(column.data, column.offsets, one - 1, one, np.array([0, 1]), np.zeros(1, bool), classes())
