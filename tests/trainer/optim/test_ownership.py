"""Sharing whole parameters out: every one has one owner, and nobody has much more to do than he must."""

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from trainer.optim import messages
from trainer.optim.messages import in_messages
from trainer.optim.ownership import assign_owners


def fullest(costs: Sequence[int], found: Sequence[int]) -> int:
    return max(sum(cost for cost, owner in zip(costs, found, strict=True) if owner == number) for number in found)


@given(costs=st.lists(st.integers(1, 10**6), min_size=1, max_size=60), owners=st.integers(1, 9))
def test_the_fullest_owner_has_less_than_an_item_above_the_mean(costs: list[int], owners: int) -> None:
    found = assign_owners(costs, owners)
    assert set(found) <= set(range(owners))
    assert fullest(costs, found) <= sum(costs) / owners + max(costs) * (1 - 1 / owners) + 1e-6


@given(costs=st.lists(st.integers(1, 30), min_size=1, max_size=7), owners=st.integers(1, 3))
def test_no_division_gives_the_fullest_less_than_three_quarters_of_it(costs: list[int], owners: int) -> None:
    best = min(fullest(costs, found) for found in itertools.product(range(owners), repeat=len(costs)))
    assert fullest(costs, assign_owners(costs, owners)) <= 4 / 3 * best


def test_owners_follow_from_costs_alone() -> None:
    assert assign_owners([1, 5, 3, 3], 2) == [0, 0, 1, 1]
    assert assign_owners([2, 2, 2], 4) == [0, 1, 2]


@given(sizes=st.lists(st.integers(1, 60), max_size=40))
def test_messages_keep_the_order_and_are_no_larger_than_they_may_be(sizes: list[int]) -> None:
    largest = messages.MESSAGE_VALUES
    messages.MESSAGE_VALUES = 50
    try:
        found = list(in_messages(range(len(sizes)), sizes))
    finally:
        messages.MESSAGE_VALUES = largest
    assert [item for message in found for item in message] == list(range(len(sizes)))
    for message in found:
        assert sum(sizes[item] for item in message) <= 50 or len(message) == 1
    for first, second in itertools.pairwise(found):
        assert sum(sizes[item] for item in first) + sizes[second[0]] > 50
