"""The stage: replaces, drops or counts, and touches nothing else."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.pii.stage import Pii, find_all, replace
from pipeline.shard import DOCUMENT_SCHEMA, documents_table
from pipeline.stage import Outcome, Position

PIECES = st.sampled_from(
    [
        "jane@acme.com",
        "86.121.97.248",
        "4454794511390933",
        "+44 20 7946 0958",
        "word",
        "12",
        " ",
        "\n",
        ".",
        "中",
        "<EMAIL>",
    ]
)
TEXTS = st.text() | st.lists(PIECES).map("".join) | st.lists(PIECES).map(" ".join)


def apply(*texts: str, **fields: Any) -> Outcome:
    table = documents_table([{"id": str(index), "text": text, "source": "test"} for index, text in enumerate(texts)])
    return Pii(**fields).apply(table, Position(0, 0))


def test_each_kind_is_replaced_by_its_placeholder_and_counted() -> None:
    outcome = apply("jane@acme.com, 86.121.97.248", "clean", "4454794511390933 or +44 20 7946 0958, bob@acme.com")
    assert outcome.documents["text"].to_pylist() == ["<EMAIL>, <IP>", "clean", "<CARD> or <PHONE>, <EMAIL>"]
    assert outcome.counts == {"email": 2, "ip": 1, "card": 1, "phone": 1}
    assert len(outcome.drops) == 0


def test_the_placeholder_can_be_chosen() -> None:
    assert apply("jane@acme.com", email={"placeholder": "[mail]"}).documents["text"].to_pylist() == ["[mail]"]


def test_counting_changes_nothing() -> None:
    outcome = apply("jane@acme.com", email={"action": "count"})
    assert outcome.documents["text"].to_pylist() == ["jane@acme.com"]
    assert outcome.counts["email"] == 1


def test_dropping_names_the_kind_and_how_many_but_never_the_secret() -> None:
    outcome = apply("clean", "jane@acme.com bob@acme.com", email={"action": "drop"})
    assert [(row, reason[:3]) for row, reason in outcome.drops.items()] == [(1, ("email", "2", "0"))]


def test_ignored_kinds_are_neither_searched_nor_counted() -> None:
    outcome = apply("jane@acme.com", email={"action": "ignore"})
    assert outcome.documents["text"].to_pylist() == ["jane@acme.com"]
    assert "email" not in outcome.counts


def test_ignoring_everything_passes_everything() -> None:
    kinds = {kind: {"action": "ignore"} for kind in ("email", "ip", "card", "phone")}
    assert apply("jane@acme.com", **kinds).documents["text"].to_pylist() == ["jane@acme.com"]


def test_an_empty_batch_keeps_its_schema() -> None:
    assert apply().documents.schema.equals(DOCUMENT_SCHEMA)
    assert apply("jane@acme.com").documents.schema.equals(DOCUMENT_SCHEMA)


def test_unknown_actions_and_kinds_are_refused() -> None:
    with pytest.raises(ValidationError, match="action"):
        Pii(email={"action": "remove"})  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="iban"):
        Pii(iban={})  # type: ignore[call-arg]


@settings(deadline=None)
@given(TEXTS)
def test_text_outside_the_finds_is_untouched(text: str) -> None:
    detectors = Pii()._detectors()
    finds = find_all(text, detectors)
    assert all(left[1] <= right[0] for left, right in pairwise(finds))
    rest = text
    for start, end, detector in reversed(finds):
        rest = rest[:start] + detector.placeholder + rest[end:]
    assert replace(text, finds) == rest


@settings(deadline=None)
@given(TEXTS)
def test_the_stage_says_what_the_detectors_say_without_a_prefilter(text: str) -> None:
    outcome = apply(text, "clean")
    finds = find_all(text, Pii()._detectors())
    assert outcome.documents["text"].to_pylist() == [replace(text, finds), "clean"]
    assert sum(outcome.counts.values()) == len(finds)


@settings(deadline=None)
@given(st.lists(PIECES).map(", ".join))
def test_a_second_pass_finds_nothing(text: str) -> None:
    once = apply(text).documents
    again = Pii().apply(once, Position(0, 0))
    assert sum(again.counts.values()) == 0
    assert again.documents.equals(once)
