"""Our kernels and the library cut every text at the same places."""

from __future__ import annotations

import itertools
import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.column import TextColumn, column_of
from pipeline.tokenizer.pieces import pieces_of, pre_tokenizer_of
from pipeline.tokenizer.settings import Alphabet, PreTokenization
from tests.pipeline.filters.judging import real_texts

CHOICES = [
    PreTokenization(kind=kind, digits=digits, cjk=cjk)
    for kind in ("gpt2", "gpt4")
    for digits in (None, "single", "threes")
    for cjk in (None, "characters", "runs")
]
PLAIN = [choice for choice in CHOICES if choice.digits is None and choice.cjk is None]
REPRESENTATIVES = (
    "aZéЖǅʰ한กſK" "sStTmMdDrReEvVlL" "019٣½Ⅳ〇൧" " \t\n\r\x0b\x0c\x1c\x85\xa0\u1680\u2003\u2028\u202f\u3000"
    "中々日𠀀ぁカーｰﾅ⺀" "'’.,!-_@#\u0301\u200b\u200d\u180e\ufeff😀🏽\U000e0001\ue000\uffff\0\x1b\x7f\U0010ffff\ufb05ß"
)  # fmt: skip
"""Each kind of character, and those that a careless engine takes for another kind."""
WORDS = [
    "'s",
    "'S",
    "'ſ",
    "'re",
    "'rE",
    "'LL",
    "'lL",
    "'ve",
    "'d",
    " '",
    "n't",
    "  ",
    "\r\n",
    "\n\n ",
    " 1234567",
    "中 ",
]
NASTY = st.lists(st.sampled_from(list(REPRESENTATIVES) + WORDS), max_size=30).map("".join) | st.text(max_size=30)


def cut_by_us(texts: list[str], choice: PreTokenization) -> list[list[str]]:
    column = column_of(texts)
    pieces = pieces_of(column, choice)
    data, found = column.data.tobytes(), []
    for document in range(len(texts)):
        bounds = [
            int(column.offsets[document]),
            *pieces.ends[pieces.starts[document] : pieces.starts[document + 1]].tolist(),
        ]
        assert bounds[-1] == column.offsets[document + 1]
        found.append([data[start:end].decode() for start, end in itertools.pairwise(bounds)])
    return found


def cut_by_the_library(texts: list[str], choice: PreTokenization, alphabet: Alphabet = "bytes") -> list[list[str]]:
    splitter = pre_tokenizer_of(choice, alphabet)
    return [[text[start:end] for _, (start, end) in splitter.pre_tokenize_str(text)] for text in texts]


def assert_equal_cuts(texts: list[str], choice: PreTokenization, alphabet: Alphabet = "bytes") -> None:
    theirs = cut_by_the_library(texts, choice, alphabet)
    for text, ours, wanted in zip(texts, cut_by_us(texts, choice), theirs, strict=True):
        assert ours == wanted, (choice, text)


@settings(max_examples=300)
@given(texts=st.lists(NASTY, max_size=5), choice=st.sampled_from(CHOICES), alphabet=st.sampled_from(get_args(Alphabet)))
def test_any_text_is_cut_as_the_library_cuts_it(texts: list[str], choice: PreTokenization, alphabet: Alphabet) -> None:
    assert_equal_cuts(texts, choice, alphabet)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_characters_stay_what_they_are_where_they_are_the_alphabet(choice: PreTokenization) -> None:
    for text in (*real_texts(60), REPRESENTATIVES * 2):
        pieces = [piece for piece, _ in pre_tokenizer_of(choice, "characters").pre_tokenize_str(text)]
        assert pieces == cut_by_us([text], choice)[0]


@pytest.mark.parametrize("choice", PLAIN, ids=lambda choice: choice.kind)
def test_every_pair_of_kinds_of_characters_in_its_surroundings(choice: PreTokenization) -> None:
    pairs = ["".join(pair) for pair in itertools.product(REPRESENTATIVES, repeat=2)]
    for before, behind in (("", ""), ("a ", " 1"), ("'", "e")):
        assert_equal_cuts([before + pair + behind for pair in pairs], choice)


@pytest.mark.parametrize("choice", [*PLAIN, PreTokenization(kind="gpt4", digits="single", cjk="runs")], ids=str)
def test_every_code_point_among_others(choice: PreTokenization) -> None:
    everything = [chr(code) for code in (*range(0xD800), *range(0xE000, 0x110000))]
    # Those below the private planes, of the rest every hundredth.
    chosen = everything[:0x32400] + everything[0x32400::100]
    lines = [" a'".join(chosen[start : start + 500]) for start in range(0, len(chosen), 500)]
    ours, theirs = cut_by_us(lines, choice), cut_by_the_library(lines, choice)
    assert [line for line, mine, other in zip(lines, ours, theirs, strict=True) if mine != other] == []


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_real_texts_are_cut_as_the_library_cuts_them(choice: PreTokenization) -> None:
    assert_equal_cuts(list(real_texts(200)), choice)


def test_the_examples_of_the_documentation() -> None:
    def cut(text: str, **fields: str) -> list[str]:
        return cut_by_us([text], PreTokenization.model_validate(fields))[0]

    assert cut("It's 12345 o'clock,\n\nNow") == ["It", "'s", " 12345", " o", "'", "clock", ",", "\n", "\n", "Now"]
    assert cut("It'S 12345,\n\nNow", kind="gpt4") == ["It", "'S", " ", "123", "45", ",\n\n", "Now"]
    assert cut("in 2024", digits="single") == ["in", " ", "2", "0", "2", "4"]
    assert cut("in 2024", digits="threes") == ["in", " ", "202", "4"]
    assert cut("a 世界ですx", cjk="characters") == ["a", " ", "世", "界", "で", "す", "x"]
    assert cut("a 世界ですx", cjk="runs") == ["a", " ", "世界です", "x"]


def test_a_column_may_begin_anywhere_and_hold_empty_texts() -> None:
    whole = column_of(["never seen", "", "ab cd", ""])
    part = TextColumn(whole.data, whole.offsets[1:])
    pieces = pieces_of(part, PreTokenization())
    assert pieces.starts.tolist() == [0, 0, 2, 2]
    assert pieces.ends.tolist() == [12, 15]
    assert pieces_of(column_of([]), PreTokenization()).starts.tolist() == [0]


@given(content=st.binary(max_size=40), choice=st.sampled_from(CHOICES))
def test_bytes_that_are_no_utf8_are_cut_without_reading_beyond(content: bytes, choice: PreTokenization) -> None:
    data = np.frombuffer(content + b"\xf0\x9f\x98\x80 's", np.uint8)
    offsets = np.array([0, len(content)])
    offsets.flags.writeable = False
    pieces = pieces_of(TextColumn(data, offsets), choice)
    bounds = [0, *pieces.ends.tolist()]
    assert bounds[-1] == len(content)
    assert all(start < end for start, end in itertools.pairwise(bounds))


def test_long_runs_take_linear_time() -> None:
    for text in (" " * 5_000_000 + "x", "1" * 5_000_000, "'" * 5_000_000, "\n " * 2_500_000, "é" * 2_500_000):
        column = column_of([text])
        for choice in CHOICES:
            assert pieces_of(column, choice).ends[-1] == len(column.data)


def test_pieces_survive_the_way_through_json() -> None:
    """The file says the same as the object: a tokenizer.json is all that other programs see."""
    from tokenizers import Tokenizer, models

    for choice in CHOICES:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizer_of(choice)
        read = Tokenizer.from_str(json.dumps(json.loads(tokenizer.to_str()))).pre_tokenizer
        text = " It's 2024中文 ABC'LL\r\n  x"
        assert read is not None
        assert read.pre_tokenize_str(text) == pre_tokenizer_of(choice).pre_tokenize_str(text)
