"""Gopher's repetition rules, against the obvious ones."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.filters.gopher_repetition import GopherRepetition
from pipeline.kernels.compiled import ensure_compiled
from pipeline.shard import documents_table
from pipeline.stage import Position
from tests.pipeline.filters.generated_texts import TEXTS, pieced_texts
from tests.pipeline.filters.judging import judged, real_texts, verdict
from tests.pipeline.filters.obvious_rules import Rules, expected_rule, rules_of

RULES = [name for name in GopherRepetition.model_fields if name.startswith(("duplicate", "top"))]
PROSE = (
    "The quick brown fox jumps over a lazy dog, while seven wizards mix jelly beans in old glass jars. "
    "Nobody who lives near this river can remember when it last froze, though grandmothers pretend otherwise."
)


def rule_for(text: str, **fields: Any) -> tuple[str, str | None, str | None] | None:
    return verdict(GopherRepetition(**fields), text)


@cache
def measured_texts() -> tuple[list[str], list[Rules]]:
    """Many texts, and the obvious values of all rules."""
    texts = [*pieced_texts(300, seed=12), *real_texts(150)]
    return texts, [rules_of(GopherRepetition(), text) for text in texts]


@settings(max_examples=60)
@given(
    st.lists(TEXTS, max_size=4), st.sampled_from(["english", "unicode"]), st.sampled_from([None, 0.0, 0.1, 0.3, 0.6])
)
def test_a_batch_is_judged_as_the_obvious_rules_judge_its_texts(
    texts: list[str], words: str, threshold: float | None
) -> None:
    stage = GopherRepetition(words=words, **({} if threshold is None else dict.fromkeys(RULES, threshold)))
    drops = dict(judged(stage, *texts).drops.items())
    for row, text in enumerate(texts):
        expected = expected_rule(stage, text)
        assert (drops[row][:2] if row in drops else None) == (expected and (expected[0], format(expected[1], ".6g")))


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_by_itself_decides_as_the_obvious_one_on_many_texts(rule: str) -> None:
    threshold = GopherRepetition.model_fields[rule].default
    stage = GopherRepetition(**dict.fromkeys(RULES) | {rule: threshold})
    texts, rules = measured_texts()
    drops = dict(judged(stage, *texts).drops.items())
    assert set(drops) == {row for row, text in enumerate(texts) if expected_rule(stage, text, rules[row])}


def test_ordinary_prose_passes() -> None:
    assert rule_for(PROSE) is None


def test_a_single_occurrence_counts_as_top_n_gram_so_short_texts_fail() -> None:
    found = rule_for("Return the value.")
    assert found is not None
    assert found[0] == "top_2_gram_characters"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "empty"),
        ("one\n\ntwo\n\none", "duplicate_paragraphs"),
        ("a\n\nb\n\nc\n\n" + "long" * 30 + "\n\n" + "long" * 30, "duplicate_paragraph_characters"),
        ("x\nx\nx\ny", "duplicate_lines"),
        ("a\nb\nc\n" + "long line " * 9 + "\n" + "long line " * 9, "duplicate_line_characters"),
        ("ha ha ha ha ha ha", "top_2_gram_characters"),
    ],
)
def test_each_kind_of_repetition_has_its_rule(text: str, rule: str) -> None:
    found = rule_for(text)
    assert found is not None
    assert found[0] == rule


def test_long_n_grams_are_found_when_short_ones_are_not_judged() -> None:
    sentence = "alpha beta gamma delta epsilon zeta eta theta iota kappa"
    text = f"{sentence} first {sentence} second {sentence}"
    off = {f"top_{size}_gram_characters": None for size in (2, 3, 4)}
    found = rule_for(text, **off)
    assert found is not None
    assert found[0] == "duplicate_5_gram_characters"
    off |= {f"duplicate_{size}_gram_characters": None for size in range(5, 10)}
    assert rule_for(text, **off) == ("duplicate_10_gram_characters", format(94 / len(text), ".6g"), "0.1")


@pytest.mark.parametrize("text", ["", " ", "\n", "\n\n\n", "word", "\u2028", "\x00"])
def test_texts_with_nothing_to_repeat_pass(text: str) -> None:
    assert rule_for(text, duplicate_lines=None, empty=False) is None


@pytest.fixture(scope="module")
def compiled() -> None:
    ensure_compiled(GopherRepetition.kernels)


@pytest.mark.parametrize("unit", ["spam ", "a\n", "ab", "\n"])
@pytest.mark.timeout(60, func_only=True)
@pytest.mark.usefixtures("compiled")
def test_ten_megabytes_of_the_same_are_judged(unit: str) -> None:
    judged(GopherRepetition(duplicate_lines=None), unit * (10_000_000 // len(unit)))


def test_an_empty_batch_stays_empty() -> None:
    assert GopherRepetition().apply(documents_table([]), Position(0, 0)).documents.num_rows == 0
