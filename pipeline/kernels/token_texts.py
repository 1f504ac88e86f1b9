"""What the tokens of encoded texts stand for: whether they give the texts back, and words to measure them by.

Cost: checking 180 MB of text a CPU-second, counting words 250 MB.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.characters import SPACE, classes, decode
from pipeline.kernels.column import column_of
from pipeline.kernels.compiled import kernel


@kernel
def first_changed(data, offsets, ids, starts, token_bytes, token_offsets):  # type: ignore[no-untyped-def]
    """The first document whose tokens do not read exactly as its text, -1 when all do.

    Args:
        data: uint8 [bytes], read-only.
        offsets: int64 [documents + 1], read-only.
        ids: uint16 or uint32 [tokens].
        starts: int64 [documents + 1]: document d has the tokens `ids[starts[d]:starts[d + 1]]`.
        token_bytes: uint8 [bytes]: the texts of all tokens.
        token_offsets: int64 [tokens of the vocabulary + 1]: token t reads `token_bytes[token_offsets[t]:...[t + 1]]`.
    """
    for document in range(len(offsets) - 1):
        position, end = offsets[document], offsets[document + 1]
        for place in range(starts[document], starts[document + 1]):
            token = np.int64(ids[place])
            if token + 1 >= len(token_offsets):
                return document
            for byte in range(token_offsets[token], token_offsets[token + 1]):
                if position == end or data[position] != token_bytes[byte]:
                    return document
                position += 1
        if position != end:
            return document
    return -1


@kernel
def count_words(data, offsets, character_classes):  # type: ignore[no-untyped-def]
    """How many words white space separates in each text, `len(text.split())`: int64 [documents]."""
    words = np.zeros(len(offsets) - 1, np.int64)
    for document in range(len(offsets) - 1):
        position, end = offsets[document], offsets[document + 1]
        inside = False
        while position < end:
            byte = data[position]
            behind = position + 1
            space = False
            # Only these begin a character of white space.
            if byte <= 0x20 or byte == 0xC2 or (byte >= 0xE1 and byte <= 0xE3):
                code, behind = decode(data, position, end)
                space = character_classes[code] & SPACE != 0
            words[document] += not space and not inside
            inside = not space
            position = behind
    return words


def warm_up() -> None:
    """Compile the kernels that Python calls."""
    column = column_of(["a b"])
    texts, ends = np.zeros(1, np.uint8), np.zeros(2, np.int64)
    for dtype in (np.uint16, np.uint32):
        first_changed(column.data, column.offsets, np.zeros(1, dtype), np.zeros(2, np.int64), texts, ends)
    count_words(column.data, column.offsets, classes())
