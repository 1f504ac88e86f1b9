from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sampling import chosen

TEXTS = pa.chunked_array([[f"document {number}" for number in range(4000)]])


def test_the_share_is_met_on_average() -> None:
    assert 360 < chosen(TEXTS, 0.1, "validation").sum() < 440
    assert chosen(TEXTS, 1.0, "validation").all()
    assert not chosen(TEXTS, 0.0, "validation").any()


def test_a_larger_share_contains_the_smaller_one() -> None:
    small, large = chosen(TEXTS, 0.1, "validation"), chosen(TEXTS, 0.2, "validation")
    assert (large | ~small).all()


def test_samples_for_other_purposes_or_seeds_are_independent() -> None:
    first = chosen(TEXTS, 0.5, "validation")
    for other in (chosen(TEXTS, 0.5, "training"), chosen(TEXTS, 0.5, "validation", seed=1)):
        assert 900 < (first & other).sum() < 1100


def test_the_choice_is_the_same_on_every_machine() -> None:
    assert chosen(TEXTS, 0.002, "validation").nonzero()[0].tolist() == [
        308,
        877,
        1019,
        1027,
        1550,
        1948,
        2035,
        2184,
        2594,
        2764,
        2960,
        2971,
    ]


@given(st.lists(st.text(), max_size=20), st.integers(0, 20))
def test_the_choice_depends_on_the_text_alone(texts: list[str], cut: int) -> None:
    whole = chosen(pa.chunked_array([texts], type=pa.string()), 0.5, "validation").tolist()
    parts = pa.chunked_array([texts[:cut], texts[cut:]], type=pa.string())
    assert chosen(parts, 0.5, "validation").tolist() == whole
    alone = [bool(chosen(pa.chunked_array([[text]]), 0.5, "validation")[0]) for text in texts]
    assert alone == whole
