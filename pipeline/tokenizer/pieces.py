"""Pre-tokenization: the pieces of a text that merges never cross, by our kernels and by the `tokenizers` library.

`pre_tokenizer_of` is what goes into `tokenizer.json`, and so the definition; `pieces_of` and the kernel
`pipeline.kernels.pretokens.next_piece` cut every text at the same places, some forty times as fast.

gpt2 is the expression of Radford et al. 2019, gpt4 that of OpenAI's cl100k_base, both as published. Other digits
replace the part for numbers by one without the space before them; CJK characters are set apart before the expression
sees the text, so what is before and behind them is cut as at the ends of a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.kernels import pretokens
from pipeline.kernels.column import TextColumn
from pipeline.tokenizer.characters import CJK_CLASS, character_classes
from pipeline.tokenizer.settings import Alphabet, PreTokenization

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer

KERNELS = ("pretokens",)
"""Kernel modules that the functions of this file call."""

_GPT2 = ("'s|'t|'re|'ve|'m|'ll|'d", r" ?\p{L}+", r" ?\p{N}+", r" ?[^\s\p{L}\p{N}]+", r"\s+(?!\S)", r"\s+")
_GPT4 = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    r"[^\r\n\p{L}\p{N}]?\p{L}+",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
)
_NUMBERS = 2
"""Place of the part for numbers in both."""
_DIGITS = {"single": r"\p{N}", "threes": r"\p{N}{1,3}"}


@dataclass(frozen=True)
class Pieces:
    """The pieces of the texts of a column, one behind the other: every byte of a text is in exactly one."""

    ends: np.ndarray
    """int64 [pieces]: where each piece ends in the column's data; it begins where the one before ends, or at the
    offset of its document."""
    starts: np.ndarray
    """int64 [documents + 1]: document d has the pieces `starts[d]:starts[d + 1]`; an empty text has none."""


def pieces_of(column: TextColumn, pre_tokenization: PreTokenization) -> Pieces:
    """The pieces of each text; 16 bytes of memory a piece."""
    classes, kind = kernel_arguments(pre_tokenization)
    starts = np.empty(len(column) + 1, np.int64)
    return Pieces(pretokens.cut(column.data, column.offsets, classes, kind, starts), starts)


def kernel_arguments(pre_tokenization: PreTokenization) -> tuple[np.ndarray, int]:
    """`classes` and `kind` of `pipeline.kernels.pretokens.next_piece`."""
    kind = pretokens.GPT4 if pre_tokenization.kind == "gpt4" else 0
    if pre_tokenization.digits == "single":
        kind |= pretokens.SINGLE_DIGITS
    elif pre_tokenization.digits == "threes" or pre_tokenization.kind == "gpt4":
        kind |= pretokens.THREE_DIGITS
    if pre_tokenization.cjk == "characters":
        kind |= pretokens.APART_EACH
    return character_classes(pre_tokenization.cjk is not None), kind


def pre_tokenizer_of(pre_tokenization: PreTokenization, alphabet: Alphabet = "bytes") -> PreTokenizer:
    """The library's pre-tokenizer for `tokenizer.json`: it cuts at the same places, and then writes each byte as the
    character that stands for it, unless characters are the alphabet."""
    from tokenizers import Regex, pre_tokenizers

    parts = list(_GPT4 if pre_tokenization.kind == "gpt4" else _GPT2)
    if pre_tokenization == PreTokenization(kind="gpt2") and alphabet == "bytes":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    steps: list[PreTokenizer] = []
    if pre_tokenization.cjk is not None:
        apart = CJK_CLASS if pre_tokenization.cjk == "characters" else f"{CJK_CLASS}+"
        steps.append(pre_tokenizers.Split(Regex(apart), behavior="isolated"))
    if pre_tokenization.digits is not None:
        parts[_NUMBERS] = _DIGITS[pre_tokenization.digits]
    steps.append(pre_tokenizers.Split(Regex("|".join(parts)), behavior="isolated"))
    if alphabet == "bytes":
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    return pre_tokenizers.Sequence(steps)
