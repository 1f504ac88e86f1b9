"""What the `tokenizers` library takes each code point for: letter, number, white space, or a letter of a contraction.

The library is asked once about all code points, with the very classes that stand in the expressions of
`tokenizer.json`; the answer is kept beside the compiled kernels, under the library's version. So no difference between
engines of regular expressions, or between versions of Unicode, can cut a text in another way than the library does.

Cost: four seconds once a version of the library, then one read of 1.1 MB a process.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from functools import cache

import numpy as np

from pipeline import storage
from pipeline.errors import UserError
from pipeline.kernels.compiled import cache_folder
from pipeline.kernels.pretokens import APART, ENDS_ALONE, LETTER, NUMBER, SPACE, E, L, R, V

CJK_CLASS = r"[\p{Han}\p{Hiragana}\p{Katakana}\x{30FC}\x{FF70}&&\p{L}]"
"""Letters of the East Asian scripts that put no spaces between words; with the prolonged sound marks, which Unicode
counts to no script. 〇, a number, and radicals, which are signs, are not among them."""
_CLASSES = {LETTER: r"\p{L}", NUMBER: r"\p{N}", SPACE: r"\s"}
_FOLDS = {"s": ENDS_ALONE, "t": ENDS_ALONE, "m": ENDS_ALONE, "d": ENDS_ALONE, "r": R, "v": V, "l": L, "e": E}
_CODE_VERSION = 1
"""Raised with every change of what the table holds."""
_SURROGATES = (0xD800, 0xE000)


@cache
def character_classes(cjk_apart: bool) -> np.ndarray:
    """uint8 [1114112], read-only: for each code point a class and a fold of `pipeline.kernels.pretokens`.

    With `cjk_apart` the characters of `CJK_CLASS` are set apart instead of letters.
    """
    question = repr((_CODE_VERSION, library_version(), CJK_CLASS, _CLASSES, _FOLDS))
    name = f"characters-{hashlib.sha256(question.encode()).hexdigest()[:16]}"
    path = str(cache_folder() / name)
    tables = _read(path)
    if tables is None:
        tables = _asked()
        with storage.write_atomically(path) as file:
            file.write(hashlib.sha256(tables.tobytes()).digest() + tables.tobytes())
    table: np.ndarray = tables[int(cjk_apart)]
    table.flags.writeable = False
    return table


def library_version() -> str:
    """Version of `tokenizers`: part of the fingerprint of all that the table decides."""
    import tokenizers

    return str(tokenizers.__version__)


def _read(path: str) -> np.ndarray | None:
    """uint8 [2, 1114112] as kept before; none when there is no such file or it is damaged."""
    if not storage.exists(path):
        return None
    content = storage.read_bytes(path)
    if len(content) != 32 + 2 * (sys.maxunicode + 1) or hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    return np.frombuffer(content, np.uint8, offset=32).reshape(2, -1).copy()


def _asked() -> np.ndarray:
    """uint8 [2, 1114112]: the table without and with the CJK characters set apart."""
    table = np.zeros(sys.maxunicode + 1, np.uint8)
    for value, expression in _CLASSES.items():
        for first, end in _matches(expression + "+"):
            if table[first:end].any():
                raise UserError(f"this version of tokenizers counts U+{first:04X} to two classes of {_CLASSES}")
            table[first:end] = value
    for first, end in _matches(f"(?i:[{''.join(_FOLDS)}])"):
        for code in range(first, end):
            table[code] |= next(value for letter, value in _FOLDS.items() if _equal_but_for_case(letter, chr(code)))
    # One character for two letters would need another table; no version of Unicode has it.
    for first, _ in _matches("(?i:re|ve|ll)"):
        raise UserError(f"this version of tokenizers folds U+{first:04X} to two letters of 're, 've or 'll")
    apart = table.copy()
    for first, end in _matches(CJK_CLASS + "+"):
        apart[first:end] = APART
    return np.stack([table, apart])


def _matches(expression: str) -> Iterator[tuple[int, int]]:
    """First and last + 1 of the ranges of code points that the expression matches in the text of all of them."""
    from tokenizers import Regex, pre_tokenizers

    first_surrogate, behind = _SURROGATES
    # Each half by itself, so that a place in the text is the code point less the half's first one.
    for begin, end in ((0, first_surrogate), (behind, sys.maxunicode + 1)):
        splitter = pre_tokenizers.Split(Regex(expression), "removed")
        position = 0
        for _, (start, stop) in splitter.pre_tokenize_str("".join(map(chr, range(begin, end)))):
            if start > position:
                yield begin + position, begin + start
            position = stop
        if position < end - begin:
            yield begin + position, end


def _equal_but_for_case(letter: str, character: str) -> bool:
    from tokenizers import Regex, pre_tokenizers

    return not pre_tokenizers.Split(Regex(f"(?i:{letter})"), "removed").pre_tokenize_str(character)
