"""Candidate pairs: who shares a key, each pair once, in ascending order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.candidates import bucket_pairs, unique_pairs


@pytest.mark.parametrize("last", [50, 1 << 40, (1 << 63) - 1])
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=30))
def test_pairs_are_those_of_the_buckets_whatever_the_numbers(last: int, rows: list[tuple[int, int]]) -> None:
    rows = [(key, last - document) for key, document in rows]
    expected = set()
    for wanted in range(4):
        bucket = sorted(document for key, document in rows if key == wanted)
        for before, document in pairwise(bucket):
            expected |= {(before, document), (bucket[0], document)}
    keys, documents = np.array([key for key, _ in rows], np.uint64), np.array([number for _, number in rows], np.int64)
    first, second = bucket_pairs(keys, documents)
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == sorted((low, high) for low, high in expected if low != high)


@pytest.mark.parametrize("step", [1, 1 << 40])
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30))
def test_pairs_are_made_unique_in_the_order_of_both_numbers(step: int, pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array([pair[place] * step for pair in pairs], np.int64) for place in (0, 1))
    found = unique_pairs(first, second)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == [
        (low * step, high * step) for low, high in sorted(set(pairs))
    ]
