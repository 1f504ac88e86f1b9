"""Tokens: every character but white space is in exactly one, and words are what a reader calls words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.filters.words import split_tokens

LETTERS_THAT_MATTER = st.text(alphabet=st.sampled_from("ab1 ,.'’_-#\n\t\u0301\u0939\u093f\u200d中\x00…"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \t\n\u2028", []),
        ("The cat sat.", ["The", "cat", "sat", "."]),
        ("don't", ["don't"]),
        ("it’s", ["it’s"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("snake_case __init__", ["snake_case", "__", "init", "__"]),
        ("well-known", ["well", "-", "known"]),
        ("1,000.50 a,b", ["1,000.50", "a", ",", "b"]),
        ("numpy.linalg.", ["numpy.linalg", "."]),
        ('He said: "no"...', ["He", "said", ":", '"', "no", '"...']),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("caf\u0065\u0301 ok", ["caf\u0065\u0301", "ok"]),
        ("今天天气好。明天", ["今天天气好", "。", "明天"]),
        ("a\x00b", ["a", "\x00", "b"]),
    ],
)
def test_words_are_what_a_reader_calls_words(text: str, tokens: list[str]) -> None:
    assert split_tokens(text) == tokens


@settings(deadline=None)
@given(st.text() | LETTERS_THAT_MATTER)
def test_no_character_but_white_space_is_lost(text: str) -> None:
    assert "".join(split_tokens(text)) == "".join(text.split())


@settings(deadline=None)
@given(st.text() | LETTERS_THAT_MATTER)
def test_no_token_is_empty_or_holds_white_space(text: str) -> None:
    assert all(token and not any(map(str.isspace, token)) for token in split_tokens(text))


@pytest.mark.parametrize("unit", ["a", "_", "a_", "a.", "1,", "a\u0301", "'", "a'"])
@pytest.mark.timeout(10)
def test_a_megabyte_without_a_space_is_no_trap(unit: str) -> None:
    assert "".join(split_tokens(unit * (1_000_000 // len(unit)))) == unit * (1_000_000 // len(unit))
