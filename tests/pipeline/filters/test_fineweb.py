"""FineWeb's rules, against the obvious ones."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.filters.fineweb import FineWeb
from pipeline.kernels.compiled import ensure_compiled
from pipeline.shard import documents_table
from pipeline.stage import Position
from tests.pipeline.filters.generated_texts import TEXTS, pieced_texts
from tests.pipeline.filters.judging import judged, real_texts, verdict
from tests.pipeline.filters.obvious_rules import Rules, expected_rule, rules_of

RULES = [name for name in FineWeb.model_fields if name.endswith(("_min", "_max"))]
LOOSE = {"terminal_lines_min": 0.5, "duplicate_line_characters_max": 0.4, "line_feeds_per_word_max": 0.6}


def rule_for(text: str, **fields: Any) -> tuple[str, str | None, str | None] | None:
    return verdict(FineWeb(**fields), text)


@cache
def measured_texts() -> tuple[list[str], list[Rules]]:
    """Many texts, and the obvious values of all rules."""
    texts = [*pieced_texts(400, seed=13), *real_texts(200)]
    return texts, [rules_of(FineWeb(), text) for text in texts]


@settings(max_examples=60)
@given(st.lists(TEXTS, max_size=4), st.sampled_from([{}, LOOSE, {"short_line_characters": 2}, {"words": "unicode"}]))
def test_a_batch_is_judged_as_the_obvious_rules_judge_its_texts(texts: list[str], fields: dict[str, Any]) -> None:
    stage = FineWeb(**fields)
    drops = dict(judged(stage, *texts).drops.items())
    for row, text in enumerate(texts):
        expected = expected_rule(stage, text)
        assert (drops[row][:2] if row in drops else None) == (expected and (expected[0], format(expected[1], ".6g")))


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_by_itself_decides_as_the_obvious_one_on_many_texts(rule: str) -> None:
    stage = FineWeb(**dict.fromkeys(RULES) | {"empty": False, rule: FineWeb.model_fields[rule].default})
    texts, rules = measured_texts()
    drops = dict(judged(stage, *texts).drops.items())
    assert set(drops) == {row for row, text in enumerate(texts) if expected_rule(stage, text, rules[row])}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (" \n ", ("empty", "0", "1")),
        ("A line that goes on without an end and is long\n" * 2, ("terminal_lines_min", "0", "0.12")),
        ("Short.\nShorter.", ("short_lines_max", "1", "0.67")),
        ("A line that is a sentence, and is long enough.\n" * 2, ("duplicate_line_characters_max", "0.5", "0.01")),
        ("Eins-zwei-drei-vier-fünf-sechs-sieben!\n\n\n\n\n\n", ("line_feeds_per_word_max", "0.428571", "0.3")),
    ],
)
def test_each_drop_names_rule_value_and_threshold(text: str, rule: tuple[str, str, str]) -> None:
    assert rule_for(text) == rule


def test_marks_of_all_scripts_end_sentences_and_quotation_marks_do_not() -> None:
    line = "这是一个很长的句子，它比三十个字符还要长，因为短的行不算数，所以我写了这么多字"
    assert rule_for(f"{line}。") is None
    assert rule_for(f"{line}。”") == ("terminal_lines_min", "0", "0.12")


def test_a_carriage_return_is_no_mark_and_no_white_space_to_strip() -> None:
    line = "A line that is a sentence, and is long enough."
    assert rule_for(line) is None
    assert rule_for(f"{line}\r") == ("terminal_lines_min", "0", "0.12")


def test_languages_without_such_marks_may_pass() -> None:
    assert rule_for("A line that goes on without an end and is long", terminal_lines_zero_passes=True) is None


def test_white_space_alone_passes_when_empty_documents_are_kept() -> None:
    assert rule_for("\n\n", empty=False) is None


@pytest.fixture(scope="module")
def compiled() -> None:
    ensure_compiled(FineWeb.kernels)


@pytest.mark.parametrize("unit", ["spam ", "a\n", "\n", "中"])
@pytest.mark.timeout(60, func_only=True)
@pytest.mark.usefixtures("compiled")
def test_ten_megabytes_of_the_same_are_judged(unit: str) -> None:
    judged(FineWeb(), unit * (10_000_000 // len(unit)))


def test_an_empty_batch_stays_empty() -> None:
    assert FineWeb().apply(documents_table([]), Position(0, 0)).documents.num_rows == 0
