"""Words of any language: UAX #29 where words stand between spaces, characters or syllables where they do not.

A word begins with a letter or a number and goes on over letters, numbers, combining marks and zero-width joiners. A
full stop, apostrophe or underscores between two letters or numbers belong to the word, and a comma between two digits:
`don't`, `snake_case`, `example.org` and `1,000.50` are one word each, `well-known` is two (WB5 to WB13b for the
characters that matter in practice). Each run of anything else but white space is one token, each run of underscores
too. So no character but white space is outside a token, in any script; a token is a word exactly when its first
character is a letter or number (`str.isalnum`).

Scripts without spaces between words have no words that could be found without a dictionary. A rule that counts words
counts here: each ideograph, each Hiragana (with a prolonged sound mark), each run of Katakana, and in Thai, Lao,
Myanmar and Khmer each cluster: a consonant with its marks, vowels, stacked consonants and the vowels written before it.
Hangul stands between spaces.

Decisions: marks are not letters to Python (`\\w+` would cut each Hindi word at its vowel signs); here they continue a
word. A joint like `.` never joins a script without spaces.

Cost: 90 to 140 MB a CPU-second, one pass, linear.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.characters import (
    ALPHANUMERIC,
    DIGIT,
    IDEOGRAPH,
    KANA,
    MARK,
    SOUTH_EAST_ASIAN,
    SPACE,
    UNSPACED,
    classes,
    decode,
)
from pipeline.kernels.column import TextColumn
from pipeline.kernels.compiled import kernel


def split_unicode(column: TextColumn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and ends [tokens] and offsets [documents + 1] of the tokens of each document."""
    starts, ends, offsets = _split(column.data, column.offsets, classes())
    return starts, ends, offsets


@kernel
def _continues(code, kind):  # type: ignore[no-untyped-def]
    """Whether a character belongs to the one before it: marks and zero-width joiners."""
    return kind & MARK != 0 or code == 0x200C or code == 0x200D


@kernel
def _is_leading_vowel(code):  # type: ignore[no-untyped-def]
    """Vowels of Thai and Lao that are written before their consonant."""
    return 0xE40 <= code <= 0xE44 or 0xEC0 <= code <= 0xEC4


@kernel
def _is_following_vowel(code):  # type: ignore[no-untyped-def]
    """Vowels of Thai and Lao that are letters to Unicode, not marks."""
    return code == 0xE30 or code == 0xE32 or code == 0xE33 or code == 0xE45 or code == 0xEB0 or 0xEB2 <= code <= 0xEB3


@kernel
def token_end(data, position, last, classes):  # type: ignore[no-untyped-def]
    """End of the token that begins at a position of data[:last], which holds no white space."""
    code, position = decode(data, position, last)
    kind = classes[code]
    word = kind & ALPHANUMERIC != 0
    unspaced = kind & UNSPACED if word else np.uint16(0)
    single = unspaced & IDEOGRAPH != 0 or 0x3041 <= code <= 0x309F or 0x1B000 <= code <= 0x1B16F
    line = code == 0x5F
    joint = np.int64(-1)  # where the word ends if no letter or number follows the joint
    while position < last:
        before, earlier = code, kind
        code, behind = decode(data, position, last)
        kind = classes[code]
        alphanumeric = kind & ALPHANUMERIC != 0
        if line:
            inside = code == 0x5F
        elif not word:
            inside = not alphanumeric and not kind & SPACE and code != 0x5F
        elif joint >= 0:
            if code == 0x5F and before == 0x5F:
                inside = True
            elif alphanumeric and not kind & UNSPACED and (before != 0x2C or kind & DIGIT):
                inside, joint = True, np.int64(-1)
            else:
                return joint
        elif _continues(code, kind):
            inside = True
        elif not unspaced:
            inside = alphanumeric and not kind & UNSPACED
            if code == 0x2E or code == 0x27 or code == 0x2019 or code == 0x5F or (code == 0x2C and earlier & DIGIT):
                inside, joint = True, position
        elif unspaced & SOUTH_EAST_ASIAN:
            letter = alphanumeric and kind & SOUTH_EAST_ASIAN != 0
            stacks = before == 0x17D2 or before == 0x1039  # coeng and virama
            stays = _is_following_vowel(code) or (stacks and not _is_leading_vowel(code))
            inside = letter and (stays or _is_leading_vowel(before))
        elif single:
            inside = (code == 0x30FC or code == 0xFF70) and not unspaced & IDEOGRAPH
        else:
            inside = alphanumeric and kind & KANA != 0 and not (0x3041 <= code <= 0x309F or 0x1B000 <= code <= 0x1B16F)
        if not inside:
            return position
        position = behind
    return joint if joint >= 0 else position


@kernel
def _split(data, offsets, classes):  # type: ignore[no-untyped-def]
    """data [bytes], offsets [documents + 1] -> starts, ends [tokens], offsets of the tokens [documents + 1]."""
    capacity = (offsets[-1] - offsets[0]) // 4 + 64
    starts, ends = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    token_offsets = np.zeros(len(offsets), np.int64)
    count = np.int64(0)
    for document in range(len(offsets) - 1):
        position, last = offsets[document], offsets[document + 1]
        while position < last:
            code, behind = decode(data, position, last)
            if classes[code] & SPACE:
                position = behind
                continue
            if count == capacity:
                capacity *= 2
                old_starts, old_ends = starts, ends
                starts, ends = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
                for token in range(count):
                    starts[token], ends[token] = old_starts[token], old_ends[token]
            starts[count] = position
            position = token_end(data, position, last, classes)
            ends[count] = position
            count += 1
        token_offsets[document + 1] = count
    return starts[:count], ends[:count], token_offsets
