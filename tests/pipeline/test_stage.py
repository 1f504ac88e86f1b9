"""Drops: a row keeps its first reason, whether rows come one by one or many at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stage import REASON_COLUMNS, Drops

twins = st.lists(st.tuples(st.integers(0, 9), st.floats(0, 1), st.sampled_from(["a", "b"])), max_size=6)
calls = st.lists(st.tuples(st.booleans(), twins), max_size=4)


def add(drops: Drops, rows: list[tuple[int, float, str]], at_once: bool) -> None:
    if not at_once:
        for row, similarity, rule in rows:
            drops.add(row, rule, similarity, 0.8, kept_id=f"kept {row}", similarity=similarity)
        return
    drops.add_twins(
        np.array([row for row, _, _ in rows], np.int64),
        [rule for _, _, rule in rows],
        np.array([similarity for _, similarity, _ in rows]),
        0.8,
        pa.array([f"kept {row}" for row, _, _ in rows], pa.string()),
    )


@given(calls)
def test_many_at_once_are_as_one_by_one(calls: list[tuple[bool, list[tuple[int, float, str]]]]) -> None:
    found, expected, joined = Drops(), Drops(), Drops()
    for at_once, rows in calls:
        add(found, rows, at_once)
        add(expected, rows, at_once=False)
    assert len(found) == len(expected)
    dropped, columns = found.columns()
    assert list(columns) == list(REASON_COLUMNS)
    reasons = zip(*(column.to_pylist() for column in columns.values()), strict=True)
    assert list(zip(dropped.tolist(), reasons, strict=True)) == list(expected.items())
    joined.extend(found, 100)
    assert [row for row, _ in joined.items()] == [100 + row for row, _ in expected.items()]
    assert list(found.items()) == list(expected.items())
    assert [row in found for row in range(10)] == [row in expected for row in range(10)]


def test_the_columns_of_reasons_without_value_or_twin_are_null() -> None:
    drops = Drops()
    drops.add(3, "rule", 2.0)
    drops.add(1, "other", "label", 7, excerpt="shown")
    rows, columns = drops.columns()
    assert rows.tolist() == [1, 3]
    assert {name: column.to_pylist() for name, column in columns.items()} == {
        "rule": ["other", "rule"],
        "value": ["label", "2"],
        "threshold": ["7", None],
        "kept_id": [None, None],
        "similarity": [None, None],
    }
    assert drops.excerpt(1) == "shown"
