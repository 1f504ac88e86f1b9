from __future__ import annotations

import sys

import numba
import numpy as np
import pytest

from pipeline.kernels.borrowing import borrowing
from pipeline.kernels.compiled import kernel


@borrowing
def _sum_of(array, start):  # type: ignore[no-untyped-def]
    total = 0
    for index in range(start, len(array)):
        total += array[index]
    return total


@kernel
def _sums_of(length):  # type: ignore[no-untyped-def]
    array = np.empty(length, np.int64)
    for index in range(length):
        array[index] = index
    return _sum_of(array, 0) + _sum_of(array[1:], 0)


@borrowing
def _made(length):  # type: ignore[no-untyped-def]
    return np.empty(length, np.int64)


def test_arrays_are_read_and_no_reference_to_them_is_taken_or_lost() -> None:
    array = np.arange(10)
    before = sys.getrefcount(array)
    assert [_sum_of(array, start) for start in range(3)] == [45, 45, 44]
    assert sys.getrefcount(array) == before


def test_a_kernel_may_lend_it_what_it_made() -> None:
    assert _sums_of(10) == 90


def test_a_function_that_makes_an_array_is_refused() -> None:
    with pytest.raises(numba.core.errors.NumbaError, match="Only accept returning of array passed"):
        _made(3)
