"""Stages of a pipeline: as even as consecutive layers allow."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.parallel.stages import balance, counted_costs
from trainer.settings import ModelSettings

costs = st.lists(st.integers(0, 50), min_size=1, max_size=9)


def loads(of: list[int], bounds: list[int]) -> list[int]:
    return [sum(of[start:stop]) for start, stop in pairwise(bounds)]


@given(costs, st.data())
def test_no_partition_has_a_smaller_largest_stage_nor_as_small_a_one_that_is_more_even(
    of: list[int], data: st.DataObject
) -> None:
    stages = data.draw(st.integers(1, len(of)))
    bounds = balance(of, stages)
    assert bounds[0] == 0
    assert bounds[-1] == len(of)
    assert all(start < stop for start, stop in pairwise(bounds))
    found = loads(of, bounds)
    for cuts in combinations(range(1, len(of)), stages - 1):
        other = loads(of, [0, *cuts, len(of)])
        assert (max(found), sum(load**2 for load in found)) <= (max(other), sum(load**2 for load in other))


def test_more_stages_than_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="3 layers cannot be divided among 4 pipeline stages"):
        balance([1, 1, 1], 4)
    with pytest.raises(ValueError, match="below zero"):
        balance([1, -1], 1)


def test_a_large_output_layer_gets_fewer_blocks_beside_it() -> None:
    shape = ModelSettings(layers=12, width=64, heads=4).shaped(vocab_size=50_000, context_length=128)
    costs = counted_costs(shape)
    assert len(costs) == 14
    assert costs[-1] > 10 * costs[1]
    assert balance(costs, 2) == [0, 13, 14]
    small = ModelSettings(layers=12, width=64, heads=4).shaped(vocab_size=64, context_length=128)
    assert balance(counted_costs(small), 4) == [0, 4, 7, 10, 14]
