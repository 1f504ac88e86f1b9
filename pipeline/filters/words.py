"""What a word is: the one splitter of the rules that count words.

A word begins with a letter or a number and goes on over letters, numbers, combining marks and zero-width
joiners. A full stop, apostrophe or underscores between two letters or numbers belong to the word, and a comma
between two digits: `don't`, `snake_case`, `example.org` and `1,000.50` are one word each, `well-known` is
two. These are the rules of Unicode's UAX #29 (WB5 to WB13b) for the characters that matter in practice.
Whatever else lies between words and is not white space (punctuation, symbols, controls) is punctuation; each
run of it is one token, and so is each run of underscores. So no character but white space is outside a token,
in any script.

Decisions: letters and numbers are those of `str.isalnum`. Marks are not among them, and Python's `\\w+` would
cut each Hindi or Thai word at its vowel signs; here they continue a word. Chinese, Japanese and Thai put no
spaces between words: a run of such text up to the next punctuation is one word here, and rules about words
are not meant for it.

Cost: one compiled pattern without backtracking, about 15 MB a CPU-second; the class of marks is built once a
process (0.1 s).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

_JOINERS = "\u200c\u200d"
_ALPHANUMERIC = r"[^\W_]"


def split_tokens(text: str) -> list[str]:
    """All tokens of the text in order: words, and runs of punctuation between them.

    A token is a word exactly when its first character `isalnum()`.
    """
    return _pattern().findall(text)


@cache
def _pattern() -> re.Pattern[str]:
    inner = rf"(?:[{_marks()}{_JOINERS}]+|(?:[.'’]|_+)(?={_ALPHANUMERIC})|(?<=\d),(?=\d))"
    return re.compile(rf"{_ALPHANUMERIC}+(?:{inner}{_ALPHANUMERIC}*)*|[^\w\s]+|_+")


def _marks() -> str:
    """Ranges of the combining marks in the notation of a character class."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
