"""Paragraphs and lines seen before, value by value against the obvious count."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.characters import classes
from pipeline.kernels.column import column_of
from pipeline.kernels.duplicates import repeated_parts, warm_up
from tests.pipeline.filters.generated_texts import TEXTS, pieced_texts
from tests.pipeline.filters.judging import real_texts
from tests.pipeline.filters.obvious_rules import duplicates

LINES = st.lists(st.sampled_from(["a", "b", "é", "", " ", "\n"])).map("\n".join)


def figures(texts: list[str]) -> list[list[int]]:
    column = column_of(texts)
    return repeated_parts(column.data, column.offsets, classes()).tolist()


def expected(text: str) -> list[int]:
    paragraphs, lines = re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)
    return [len(paragraphs), *duplicates(paragraphs), len(lines), *duplicates(lines)]


@given(st.lists(TEXTS | LINES, max_size=4))
def test_every_figure_is_the_obvious_one(texts: list[str]) -> None:
    assert figures(texts) == [expected(text) for text in texts]


def test_every_figure_is_the_obvious_one_on_thousands_of_texts() -> None:
    texts = [*pieced_texts(3000, seed=1), *real_texts(500)]
    assert figures(texts) == [expected(text) for text in texts]


@pytest.fixture(scope="module")
def compiled() -> None:
    warm_up()


@pytest.mark.usefixtures("compiled")
@pytest.mark.timeout(30, func_only=True)
def test_lines_that_differ_only_in_their_middle_are_told_apart_in_linear_time() -> None:
    lines = [f"{'a' * 40}{number:07d}{'b' * 40}" for number in range(100_000)]
    assert figures(["\n".join([*lines, lines[50_000]])]) == [[1, 0, 0, 100_001, 1, 87]]
