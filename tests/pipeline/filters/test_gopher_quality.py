"""Gopher's quality rules against an obvious implementation of datatrove's definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.filters.gopher_quality import GopherQuality, quality_statistics
from pipeline.filters.words import split_tokens
from pipeline.shard import documents_table
from pipeline.stage import Outcome, Position

STOP_WORDS = frozenset(GopherQuality().stop_words)
PROSE = "The people of the village have to be awake with the sun and that is how it was. " * 4
TEXTS = st.text() | st.lists(
    st.sampled_from(
        [
            "the",
            "be",
            "The",
            "word",
            "x1",
            "12",
            "#",
            "...",
            "…",
            "•",
            "-",
            "\n",
            "\r\n",
            " ",
            "中文",
            "\u0301",
        ]
    )
).map(" ".join)


def judge(text: str, **fields: Any) -> Outcome:
    table = documents_table([{"id": "0", "text": text, "source": "test"}])
    return GopherQuality(**fields).apply(table, Position(0, 0))


def rule_for(text: str, **fields: Any) -> tuple[str, str | None, str | None] | None:
    reasons = [reason[:3] for _, reason in judge(text, **fields).drops.items()]
    return reasons[0] if reasons else None


@settings(deadline=None)
@given(TEXTS)
def test_every_statistic_equals_the_obvious_one(text: str) -> None:
    statistics = quality_statistics(text, STOP_WORDS)
    tokens = split_tokens(text)
    words = [token for token in tokens if any(character.isalnum() for character in token)]
    lines = text.splitlines()
    assert statistics.words == len(words)
    assert statistics.mean_word_length == (pytest.approx(np.mean([len(word) for word in words])) if words else 0)
    assert statistics.hash_ratio == (text.count("#") / len(tokens) if tokens else 0)
    assert statistics.ellipsis_ratio == ((text.count("...") + text.count("…")) / len(tokens) if tokens else 0)
    starts = [line for line in lines if line.lstrip().startswith("•") or line.lstrip().startswith("-")]
    assert statistics.bullet_lines == (len(starts) / len(lines) if lines else 0)
    ends = [line for line in lines if line.rstrip().endswith("...") or line.rstrip().endswith("…")]
    assert statistics.ellipsis_lines == (len(ends) / len(lines) if lines else 0)
    with_letter = [token for token in tokens if any(character.isalpha() for character in token)]
    assert statistics.alphabetic_words == (len(with_letter) / len(tokens) if tokens else 0)
    assert statistics.stop_words == len(STOP_WORDS & set(tokens))


@settings(deadline=None)
@given(TEXTS)
def test_no_text_breaks_the_stage(text: str) -> None:
    outcome = judge(text)
    assert outcome.documents.num_rows == 1


def test_running_text_passes() -> None:
    assert rule_for(PROSE) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", ("words_min", "0", "50")),
        ("   \n\n ", ("words_min", "0", "50")),
        ("too short to say", ("words_min", "4", "50")),
        ("a I " * 50, ("mean_word_length_min", "1", "3")),
        ("incomprehensibility " * 50, ("mean_word_length_max", "19", "10")),
        ("# word " * 50, ("hash_ratio_max", "0.5", "0.1")),
        ("word... " * 50, ("ellipsis_ratio_max", "0.5", "0.1")),
        ("- the word of mine\n" * 20, ("bullet_lines_max", "1", "0.9")),
        ("• the word of mine\n" * 20, ("bullet_lines_max", "1", "0.9")),
        (("the word of mine and yours " * 3 + "…\n") * 5, ("ellipsis_lines_max", "1", "0.3")),
        ("1999 words " * 50, ("alphabetic_words_min", "0.5", "0.8")),
        ("Der Hund bellt laut " * 20, ("stop_words_min", "0", "2")),
        ("The Hund bellt the laut " * 20, ("stop_words_min", "1", "2")),
    ],
)
def test_each_drop_names_rule_value_and_threshold(text: str, rule: tuple[str, str, str]) -> None:
    assert rule_for(text) == rule


def test_more_words_than_allowed_are_dropped() -> None:
    assert rule_for(PROSE, words_max=60) == ("words_max", "72", "60")


def test_a_value_on_the_threshold_passes() -> None:
    assert rule_for(PROSE, words_min=72, words_max=72) is None


def test_null_turns_a_rule_off() -> None:
    assert rule_for("Der Hund bellt laut " * 20, stop_words_min=None) is None


def test_other_languages_bring_their_stop_words() -> None:
    assert rule_for("Der Hund und die Katze bellen laut " * 10, stop_words=["der", "und", "die"]) is None


def test_rules_are_judged_in_the_documented_order() -> None:
    assert rule_for("# a") == ("words_min", "1", "50")


def test_bounds_that_let_nothing_pass_are_refused() -> None:
    with pytest.raises(ValidationError, match="words_min 60 is above words_max 50"):
        GopherQuality(words_min=60, words_max=50)


def test_an_empty_batch_stays_empty() -> None:
    outcome = GopherQuality().apply(documents_table([]), Position(0, 0))
    assert outcome.documents.num_rows == 0
    assert len(outcome.drops) == 0


def test_a_megabyte_line_is_measured() -> None:
    assert rule_for("x" * 1_000_000) == ("words_min", "1", "50")
