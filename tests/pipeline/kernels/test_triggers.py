"""Shapes found by the compiled pass: against slow and obvious rules, in any text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels import shapes
from pipeline.kernels.column import column_of
from pipeline.kernels.triggers import find_triggers, warm_up

ALPHABET = st.sampled_from("0123456789aAfZx.:/@-_ \n,é中()\u00a0\u2013")
TEXTS = st.text(alphabet=ALPHABET, max_size=80) | st.text()
RULES = {
    shapes.NUMBER: r"[0-9](?:[^0-9A-Za-z\n,]?[0-9]){8}",
    shapes.DIGITS: r"[0-9](?:[^0-9A-Za-z\n]{0,5}[0-9]){6}",
    shapes.DOTTED: r"(?<![0-9])[0-9]{1,3}(?:\.[0-9]{1,3}){2}\.[0-9]",
    shapes.COLONS: r":[0-9A-Fa-f]*:[0-9A-Fa-f]*:",
    shapes.AT: r"[^\x00-\x20]@[A-Za-z0-9\u0080-\U0010ffff]",
}


def bits_of(text: str) -> int:
    return int(np.bitwise_or.reduce(find_triggers(column_of([text])).bits, initial=0))


@given(TEXTS)
def test_shapes_are_found_exactly_where_the_slow_rules_find_them(text: str) -> None:
    bits = bits_of(text)
    for bit, rule in RULES.items():
        assert bool(bits & bit) == (re.search(rule, text) is not None), (bit, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He walked on, in 1914 and 1918, and said nothing of chapter 12.", 0),
        ("12345678Z", shapes.LETTERED | shapes.DIGITS),
        ("AB 12 34 56 C", shapes.LETTERED),
        ("AB 12 34 56 c", 0),
        ("postgres://jane:pw@host", shapes.USER | shapes.AT),
        ("https://acme.com/@jane:x", shapes.AT),
        ("https://acme.com/a@b", shapes.AT),
        ("a1" * 8, shapes.RUN),
        ("a1" * 7, 0),
        ("incomprehensibilities", 0),
        ("Lieutenant-General-in-Chief", 0),
        ("AbstractSingletonFactory", 0),
        ("hfQwErTyUiOpAsDfGhJkL", shapes.RUN),
        ("aws_secret_access_key", shapes.RUN),
    ],
)
def test_words_are_no_tokens_and_tokens_no_words(text: str, expected: int) -> None:
    assert bits_of(text) == expected


@given(st.lists(TEXTS, max_size=5))
def test_a_batch_gives_what_its_texts_give(texts: list[str]) -> None:
    places = find_triggers(column_of(texts))
    first = 0
    for row, text in enumerate(texts):
        alone = find_triggers(column_of([text]))
        own = slice(places.offsets[row], places.offsets[row + 1])
        assert (places.starts[own] - first).tolist() == alone.starts.tolist()
        assert (places.ends[own] - first).tolist() == alone.ends.tolist()
        assert places.bits[own].tolist() == alone.bits.tolist()
        first += len(text.encode())
        assert all(0 <= start < end <= len(text.encode()) for start, end in zip(alone.starts, alone.ends, strict=True))


@pytest.fixture(scope="module")
def compiled() -> None:
    warm_up()


@pytest.mark.usefixtures("compiled")
@pytest.mark.timeout(30, func_only=True)
@pytest.mark.parametrize("unit", ["1", "1 ", ":", "1.", "@", "a1", "://", "é", "1\u00a0", "1     1"])
def test_ten_hostile_megabytes_take_linear_time(unit: str) -> None:
    find_triggers(column_of([unit * (10_000_000 // len(unit.encode()))]))
