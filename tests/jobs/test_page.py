"""Figures are short and honest; foreign text is harmless."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.page import count, figure, page_environment, percent, plain, size


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (count(1_234_567), "1 234 567"),
        (size(999), "999 B"),
        (size(28_430_000), "28.4 MB"),
        (size(999_999), "1.00 MB"),
        (size(999_499), "999 kB"),
        (percent(0.5), "50.0 %"),
        (percent(0.00012), "0.012 %"),
        (percent(0.004), "0.40 %"),
        (percent(0.0), "0.0 %"),
        (figure(8_192_000), "8 192 000"),
        (figure(0.123456), "0.1235"),
        (figure(True), "True"),
    ],
)
def test_figures_are_written_as_people_read_them(written: str, expected: str) -> None:
    assert written.replace("\N{NARROW NO-BREAK SPACE}", " ") == expected


@given(st.integers(0, 10**15))
def test_sizes_are_never_in_scientific_notation(value: int) -> None:
    assert "e" not in size(value)


@given(st.text(st.characters(exclude_categories=())))
def test_plain_text_has_the_same_length_and_no_hidden_characters(text: str) -> None:
    shown = plain(text)
    assert len(shown) == len(text)
    assert all(unicodedata.category(character) not in {"Cf", "Cs", "Co"} for character in shown)
    shown.encode("utf-8")


@given(st.text())
def test_the_environment_escapes_by_default(text: str) -> None:
    written = page_environment().from_string("{{ text | plain }}").render(text=text)
    assert "<" not in written
