"""A set of numbers: places and members are those of the sorted list."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.number_set import NumberSet

COUNT = 300
numbers = st.lists(st.one_of(st.integers(0, COUNT - 1), st.sampled_from([0, 63, 64, 127, COUNT - 1])), max_size=80)


@settings(deadline=None)
@given(st.lists(numbers, max_size=4))
def test_places_and_members_are_those_of_the_sorted_numbers(parts: list[list[int]]) -> None:
    found = NumberSet(COUNT)
    for part in parts:
        found.add(np.array(part, np.int64))
    expected = np.array(sorted({number for part in parts for number in part}), np.int64)
    assert len(found) == len(expected)
    assert found.places(expected).tolist() == list(range(len(expected)))
    backwards = np.arange(len(expected))[::-1]
    assert found.members(backwards).tolist() == expected[backwards].tolist()


def test_what_is_added_after_a_look_up_counts() -> None:
    found = NumberSet(100)
    found.add(np.array([70]))
    assert found.places(np.array([70])).tolist() == [0]
    found.add(np.array([3, 70]))
    assert found.places(np.array([70, 3])).tolist() == [1, 0]


def test_every_number_may_be_in_the_set() -> None:
    everything = NumberSet(130)
    everything.add(np.arange(130))
    assert len(everything) == 130
    assert everything.members(np.arange(130)).tolist() == list(range(130))


def test_nothing_is_a_set_too() -> None:
    assert len(NumberSet(0)) == 0
    assert NumberSet(5).members(np.array([], np.int64)).tolist() == []
