"""Components: equal to a plain search, in any order, and quick on chains and stars."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.components import Components


def obvious_roots(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    label = list(range(count))
    for first, second in pairs:
        old, new = max(label[first], label[second]), min(label[first], label[second])
        label = [new if value == old else value for value in label]
    return label


members = st.integers(0, 19)


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(members, members), max_size=12), max_size=5), st.randoms())
def test_roots_are_the_smallest_members_whatever_the_order(
    parts: list[list[tuple[int, int]]], chance: random.Random
) -> None:
    expected = obvious_roots(20, [pair for part in parts for pair in part])
    chance.shuffle(parts)
    components = Components(20)
    for part in parts:
        pairs = np.array(part, np.int64).reshape(-1, 2)
        components.join(pairs[:, 0], pairs[:, 1])
    assert components.roots().tolist() == expected


def test_a_chain_of_a_hundred_thousand_is_one_component() -> None:
    chain = np.random.default_rng(0).permutation(100_000)
    components = Components(len(chain))
    for part in np.array_split(np.arange(len(chain) - 1), 7):
        components.join(chain[part], chain[part + 1])
    assert not components.roots().any()


@settings(deadline=None)
@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40), st.integers(1, 12))
def test_slices_hand_out_every_member_once_with_its_whole_component(
    count: int, pairs: list[tuple[int, int]], size: int
) -> None:
    pairs = [(first % count, second % count) for first, second in pairs]
    components = Components(count)
    members = np.array(pairs, np.int64).reshape(-1, 2)
    components.join(members[:, 0], members[:, 1])
    expected = obvious_roots(count, pairs)
    found: dict[int, int] = {}
    for documents, roots in components.slices(size):
        assert documents.tolist() == sorted(documents.tolist())
        assert not set(roots.tolist()) & set(found.values()), "a component was torn"
        assert len(documents) <= size + max(map(expected.count, expected))
        found |= dict(zip(documents.tolist(), roots.tolist(), strict=True))
    assert found == dict(enumerate(expected))


def test_of_nothing_there_is_one_slice_without_members() -> None:
    [(members, roots)] = Components(0).slices(5)
    assert len(members) == len(roots) == 0


def test_members_that_32_bits_hold_take_4_bytes_each() -> None:
    assert Components(10).roots().dtype == np.int32
