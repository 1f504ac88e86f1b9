"""Charts are plain SVG in the page's colours."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.plots import Line, length_histogram, line_chart


def test_colours_are_the_pages_so_that_one_drawing_serves_both_themes() -> None:
    chart = line_chart("loss", "Loss", [Line("a", [1, 2], [3.0, 4.0])], "nats", level=("gzip", 3.5))
    assert "var(--accent)" in chart
    assert "var(--warm)" in chart
    assert re.findall(r"#[0-9a-fA-F]{6}\b", chart) == []


def test_the_same_figures_give_the_same_bytes() -> None:
    lines = [Line("a", [1, 2, 3], [3.0, 4.0, 1.0])]
    assert line_chart("loss", "Loss", lines, "nats") == line_chart("loss", "Loss", lines, "nats")


def test_titles_and_labels_are_escaped_and_not_read_as_mathematics() -> None:
    chart = line_chart("loss", 'a "title" <b>', [Line("$x_{1}$ <i>", [1], [1.0]), Line("b", [1], [2.0])], "nats")
    ElementTree.fromstring(chart)
    assert "$x_{1}$ &lt;i&gt;" in chart


def test_a_single_point_can_be_seen() -> None:
    assert "<use" in line_chart("one", "One", [Line("a", [5], [1.0])], "nats").split('id="one-line2d_')[-1]


@pytest.mark.parametrize("values", [[], [math.nan, math.nan], [1.0, math.nan, math.inf], [2.0, 2.0]])
def test_odd_values_still_give_a_chart(values: list[float]) -> None:
    ElementTree.fromstring(line_chart("odd", "Odd", [Line("a", list(range(len(values))), values)], ""))


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=26, max_size=26))
def test_any_lengths_give_a_histogram(before: list[int]) -> None:
    ElementTree.fromstring(length_histogram("lengths", "Lengths", before, [count // 2 for count in before]))


def test_points_that_are_not_joined_have_marks_and_no_line() -> None:
    joined, single = (
        line_chart("loss", "Loss", [Line("skipped", [1, 2, 3], [3, 2, 1], marked=True, joined=joins)], "nats")
        for joins in (True, False)
    )
    assert joined.count("<use ") == single.count("<use ")
    assert joined.count("<path ") > single.count("<path ")
