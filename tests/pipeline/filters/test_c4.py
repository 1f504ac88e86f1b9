"""C4's rules: decisions and what is left of the text, against the obvious ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.filters.c4 import C4
from pipeline.kernels.compiled import ensure_compiled
from pipeline.shard import documents_table
from pipeline.stage import Position
from tests.pipeline.filters.generated_texts import TEXTS, pieced_texts
from tests.pipeline.filters.judging import judged, real_texts, verdict
from tests.pipeline.filters.obvious_rules import c4_text

FIVE = "One thing is so. Two things are so. Three things are so. Four things are so. Five things are so."
OFF: dict[str, Any] = {
    "word_length_max": None, "citations": False, "terminal_punctuation": False, "words_per_line_min": None,
    "lorem_ipsum": False, "javascript": False, "curly_bracket": False, "policy": False, "sentences_min": None,
}  # fmt: skip
RULES = {name: C4.model_fields[name].default for name in OFF}


def left(text: str, **fields: Any) -> str | None:
    """The text that the stage leaves, None when it drops the document."""
    outcome = judged(C4(**fields), text)
    return None if len(outcome.drops) else outcome.documents["text"][0].as_py()


def check(stage: C4, texts: list[str]) -> None:
    outcome = judged(stage, *texts)
    drops, cleaned = dict(outcome.drops.items()), outcome.documents["text"].to_pylist()
    for row, text in enumerate(texts):
        rule, expected = c4_text(text, stage)
        assert (drops[row][0] if row in drops else None) == rule
        assert rule or cleaned[row] == expected


@settings(max_examples=60)
@given(
    st.lists(TEXTS, max_size=4),
    st.sampled_from([{}, {"terminal_punctuation": False}, {"sentences_min": 2, "words_per_line_min": 1}, OFF]),
)
def test_decisions_and_texts_are_those_of_the_obvious_rules(texts: list[str], fields: dict[str, Any]) -> None:
    check(C4(**fields), texts)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_by_itself_decides_and_edits_as_the_obvious_one_on_many_texts(rule: str) -> None:
    value = 30 if rule == "word_length_max" else RULES[rule]
    check(C4(**OFF | {rule: value}), [*pieced_texts(400, seed=14), *real_texts(150)])


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("Four words are here.", "Four words are here."),
        ("  Four words are here!\t", "Four words are here!"),
        ("No end is here", None),
        ("An end is missing here...", None),
        ('He said "it is here"', 'He said "it is here"'),
        ("Two words.", None),
        ("It was so.[12]", "It was so."),
        ("It was so. [12]", None),
        ("It[citation needed] was[edit] so[].", "It was so."),
        ("It was [sic] so.", "It was [sic] so."),
        ("Please enable JavaScript to go on.", None),
        ("We USE coo\u212aies on this site.", None),
        ("Read our Privacy Policy with care.", None),
        ("This word is " + "l" * 1001 + " long.", None),
    ],
)
def test_what_becomes_of_a_line(line: str, stays: str | None) -> None:
    assert left(f"{line}\n{FIVE}") == (FIVE if stays is None else f"{stays}\n{FIVE}")


def test_pages_of_code_and_filler_are_dropped_with_their_rule() -> None:
    assert verdict(C4(), f"{FIVE}\nLOREM Ipsum dolor sit amet.") == ("lorem_ipsum", "1", "0")
    assert verdict(C4(), f"{FIVE}\nif it is so {{then it is.") == ("curly_bracket", "1", "0")
    assert left(f"{FIVE}\nno sentence {{ here") == FIVE


def test_too_few_sentences_drop_the_page() -> None:
    assert verdict(C4(), FIVE) is None
    assert verdict(C4(), "One thing is so. Two things are so.") == ("sentences_min", "2", "5")
    assert verdict(C4(), "") == ("sentences_min", "0", "5")


def test_lines_removed_are_counted_in_the_documents_that_stay() -> None:
    outcome = judged(C4(), f"menu\nhome | about\n{FIVE}\nWe use cookies here.\nEnable javascript, will you?", "menu")
    assert outcome.counts == {
        "lines_with_long_word": 0,
        "lines_without_terminal_punctuation": 2,
        "lines_with_few_words": 0,
        "lines_with_javascript": 1,
        "lines_with_policy": 1,
        "lines_kept": 1,
    }


def test_other_columns_and_the_schema_stay() -> None:
    table = documents_table([{"id": "1", "text": FIVE, "source": "s", "url": "u", "language": "en"}])
    assert C4().apply(table, Position(0, 0)).documents == table


@pytest.fixture(scope="module")
def compiled() -> None:
    ensure_compiled(C4.kernels)


@pytest.mark.parametrize("unit", ["spam ", "a\n", "\n", "[1", "It is so. "])
@pytest.mark.timeout(60, func_only=True)
@pytest.mark.usefixtures("compiled")
def test_ten_megabytes_of_the_same_are_judged(unit: str) -> None:
    judged(C4(), unit * (10_000_000 // len(unit)))


def test_an_empty_batch_stays_empty() -> None:
    assert C4().apply(documents_table([]), Position(0, 0)).documents == documents_table([])
