"""Gopher's repetition rules against an obvious implementation of datatrove's definitions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.filters.gopher_repetition import GopherRepetition, NGrams, duplicates
from pipeline.filters.words import split_tokens
from pipeline.shard import documents_table
from pipeline.stage import Position

TEXTS = st.text() | st.lists(st.sampled_from(["a", "ab", "b", "c d", "1", "11", "\n", "\n\n", " ", ".", "中"])).map(
    " ".join
)
PROSE = (
    "The quick brown fox jumps over a lazy dog, while seven wizards mix jelly beans in old glass jars. "
    "Nobody who lives near this river can remember when it last froze, though grandmothers pretend otherwise."
)


def slow_duplicates(parts: list[str]) -> tuple[int, int]:
    seen: list[str] = []
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        seen.append(part)
    return count, characters


def slow_top(words: list[str], size: int) -> int:
    n_grams = [" ".join(words[index : index + size]) for index in range(len(words) - size + 1)]
    best = 0
    for n_gram in dict.fromkeys(n_grams):
        best = max(best, n_grams.count(n_gram))
    first_best = next((n_gram for n_gram in n_grams if n_grams.count(n_gram) == best), "")
    return len(first_best) * best


def slow_repeated(words: list[str], size: int) -> int:
    seen = []
    characters = index = 0
    while index < len(words) - size + 1:
        n_gram = "".join(words[index : index + size])
        if n_gram in seen:
            characters += len(n_gram)
            index += size
        else:
            seen.append(n_gram)
            index += 1
    return characters


def slow_verdict(text: str, stage: GopherRepetition) -> tuple[str, float] | None:
    """All rules with all exact values, in datatrove's order."""
    if not text:
        return None
    values = {}
    paragraphs = re.split(r"\n{2,}", text.strip())
    count, characters = slow_duplicates(paragraphs)
    values["duplicate_paragraphs"] = count / len(paragraphs)
    values["duplicate_paragraph_characters"] = characters / len(text)
    lines = re.split(r"\n+", text)
    count, characters = slow_duplicates(lines)
    values["duplicate_lines"] = count / len(lines)
    values["duplicate_line_characters"] = characters / len(text)
    words = split_tokens(text)
    for size in (2, 3, 4):
        values[f"top_{size}_gram_characters"] = slow_top(words, size) / len(text)
    for size in range(5, 11):
        values[f"duplicate_{size}_gram_characters"] = slow_repeated(words, size) / len(text)
    for rule, value in values.items():
        if value > getattr(stage, rule):
            return rule, value
    return None


def verdict(text: str, **fields: Any) -> tuple[str, str | None, str | None] | None:
    table = documents_table([{"id": "0", "text": text, "source": "test"}])
    reasons = list(GopherRepetition(**fields).apply(table, Position(0, 0)).drops.items())
    return reasons[0][1][:3] if reasons else None


@settings(deadline=None)
@given(st.lists(st.text(max_size=3)))
def test_duplicates_are_all_occurrences_after_the_first(parts: list[str]) -> None:
    assert duplicates(parts) == slow_duplicates(parts)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 5))
def test_top_n_gram_characters_equal_the_obvious_count(text: str, size: int) -> None:
    words = split_tokens(text)
    assert NGrams(words).top_characters(size) == slow_top(words, size)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 5), st.floats(0, 40))
def test_duplicate_n_gram_characters_equal_the_obvious_count(text: str, size: int, at_least: float) -> None:
    words = split_tokens(text)
    exact = slow_repeated(words, size)
    assert NGrams(words).duplicate_characters(size) == exact
    spared = NGrams(words).duplicate_characters(size, at_least=at_least)
    assert spared == exact or (spared == 0 and exact <= at_least)


@settings(deadline=None)
@given(TEXTS, st.sampled_from([0.0, 0.1, 0.3, 0.6, 2.0]))
def test_the_stage_says_what_the_obvious_rules_say(text: str, threshold: float) -> None:
    fields = dict.fromkeys(GopherRepetition.model_fields, threshold)
    expected = slow_verdict(text, GopherRepetition(**fields))
    found = verdict(text, **fields)
    assert found == (expected and (expected[0], format(expected[1], ".6g"), format(threshold, ".6g")))


def test_ordinary_prose_passes() -> None:
    assert verdict(PROSE) is None


def test_a_single_occurrence_counts_as_top_n_gram_so_short_texts_fail() -> None:
    found = verdict("Return the value.")
    assert found is not None
    assert found[0] == "top_2_gram_characters"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("one\n\ntwo\n\none", "duplicate_paragraphs"),
        ("a\n\nb\n\nc\n\n" + "long" * 30 + "\n\n" + "long" * 30, "duplicate_paragraph_characters"),
        ("x\nx\nx\ny", "duplicate_lines"),
        ("a\nb\nc\n" + "long line " * 9 + "\n" + "long line " * 9, "duplicate_line_characters"),
        ("ha ha ha ha ha ha", "top_2_gram_characters"),
    ],
)
def test_each_kind_of_repetition_has_its_rule(text: str, rule: str) -> None:
    found = verdict(text)
    assert found is not None
    assert found[0] == rule


def test_long_n_grams_are_found_when_short_ones_are_not_judged() -> None:
    sentence = "alpha beta gamma delta epsilon zeta eta theta iota kappa"
    text = f"{sentence} first {sentence} second {sentence}"
    off = {f"top_{size}_gram_characters": None for size in (2, 3, 4)}
    found = verdict(text, **off)
    assert found is not None
    assert found[0] == "duplicate_5_gram_characters"
    off |= {f"duplicate_{size}_gram_characters": None for size in range(5, 10)}
    assert verdict(text, **off) == ("duplicate_10_gram_characters", format(94 / len(text), ".6g"), "0.1")


def test_n_grams_of_equal_letters_but_other_word_borders_are_equal() -> None:
    assert NGrams(["a", "bc", "x", "ab", "c"]).duplicate_characters(2) == 3


@pytest.mark.parametrize("text", ["", " ", "\n", "\n\n\n", "word", "\u2028", "\x00"])
def test_texts_with_nothing_to_repeat_pass(text: str) -> None:
    assert verdict(text, duplicate_lines=None) is None


def test_a_megabyte_line_is_judged() -> None:
    found = verdict("spam " * 200_000)
    assert found is not None
    assert found[0] == "top_2_gram_characters"


def test_an_empty_batch_stays_empty() -> None:
    assert GopherRepetition().apply(documents_table([]), Position(0, 0)).documents.num_rows == 0
