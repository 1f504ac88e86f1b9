"""The permutation: one to one for any size, and equal to its definition written with arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.permutation import permuted

ROUNDS = 6


def scrambled(values: np.ndarray) -> np.ndarray:
    mixed: np.ndarray = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def by_definition(places: np.ndarray, size: int, half_bits: int, keys: np.ndarray) -> np.ndarray:
    bits, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    values, outside = places.astype(np.uint64), np.ones(len(places), bool)
    while outside.any():
        left, right = values[outside] >> bits, values[outside] & mask
        for key in keys:
            left, right = right, left ^ (scrambled(right + key) & mask)
        values[outside] = (left << bits) | right
        outside &= values >= size
    return values.astype(np.int64)


@settings(max_examples=100, deadline=None)
@given(half_bits=st.integers(1, 6), share=st.floats(0.01, 1), seed=st.integers(0, 2**32))
def test_every_place_goes_where_the_definition_says(half_bits: int, share: float, seed: int) -> None:
    size = max(1, int(share * 4**half_bits))
    keys = np.random.default_rng(seed).integers(2**64, size=ROUNDS, dtype=np.uint64)
    places = np.arange(size)
    found = permuted(places, size, half_bits, keys)
    assert np.array_equal(found, by_definition(places, size, half_bits, keys))
    assert np.array_equal(np.sort(found), places)


def test_a_range_of_ten_to_the_twelfth_needs_no_list() -> None:
    size = 10**12
    places = np.array([0, 1, 10**11, size - 1])
    keys = np.arange(ROUNDS, dtype=np.uint64)
    found = permuted(places, size, 20, keys)
    assert np.array_equal(found, by_definition(places, size, 20, keys))
    assert len(set(found.tolist())) == 4
    assert found.max() < size
