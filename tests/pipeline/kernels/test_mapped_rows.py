"""Rows by address: the same as plain indexing, for any blocks, rows and documents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.mapped_rows import gather_rows

WIDTH = 6
"""Targets of a row."""


def address(arrays: list[np.ndarray]) -> np.ndarray:
    return np.array([array.ctypes.data for array in arrays], np.int64)


def blocks_of(counts: list[int], kind: Any, random: np.random.Generator) -> tuple[list[np.ndarray], list[list[int]]]:
    """Tokens of each block, and the document ends of every row."""
    tokens = [random.integers(np.iinfo(kind).max, size=(count, WIDTH + 1), dtype=kind) for count in counts]
    ends = [
        sorted(random.choice(np.arange(1, WIDTH + 1), size=random.integers(1, WIDTH + 1), replace=False).tolist())
        for _ in range(sum(counts))
    ]
    return tokens, ends


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    kind=st.sampled_from([np.uint16, np.uint32]),
    seed=st.integers(0, 999),
    batch=st.integers(0, 12),
)
def test_rows_and_documents_are_those_of_plain_indexing(counts: list[int], kind: Any, seed: int, batch: int) -> None:
    random = np.random.default_rng(seed)
    tokens, ends = blocks_of(counts, kind, random)
    firsts = np.cumsum([0, *counts[:-1]])
    bounds = [slice(first, first + count) for first, count in zip(firsts.tolist(), counts, strict=True)]
    offsets = [np.cumsum([0, *map(len, ends[part])]).astype(np.int32) for part in bounds]
    values = [np.concatenate(ends[part]).astype(np.uint32) for part in bounds]
    total = sum(counts)
    rows = random.integers(total, size=batch)
    found = np.empty((batch, WIDTH + 1), np.int64)
    segments, used = np.empty((batch, WIDTH), np.int32), np.empty(batch, np.int64)
    addresses = (address(tokens), address(offsets), address(values))
    itemsize = np.dtype(kind).itemsize
    assert gather_rows(rows, total, firsts, *addresses, itemsize, found, segments, used) == -1
    assert np.array_equal(found, np.concatenate(tokens)[rows])
    for place, row in enumerate(rows.tolist()):
        assert used[place] == ends[row][-1]
        assert segments[place].tolist() == [sum(target >= end for end in ends[row]) for target in range(WIDTH)]
    alone = np.empty_like(found)
    none = np.empty((0, WIDTH), np.int32)
    assert gather_rows(rows, total, firsts, *addresses, itemsize, alone, none, used) == -1
    assert np.array_equal(alone, found)


@pytest.mark.parametrize("wrong", [-1, 3, 1 << 40])
def test_a_number_that_is_no_row_is_told_and_nothing_is_read(wrong: int) -> None:
    tokens = np.zeros((3, WIDTH + 1), np.uint16)
    at = address([tokens])
    rows = np.array([0, 2, wrong, 1])
    into, segments = np.full((4, WIDTH + 1), 7), np.full((4, WIDTH), 7, np.int32)
    assert gather_rows(rows, 3, np.array([0]), at, at, at, 2, into, segments, np.zeros(4, np.int64)) == 2
    assert (into == 7).all()
    assert (segments == 7).all()
