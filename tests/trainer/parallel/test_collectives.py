"""Each message and its backward, against the whole value that the ranks would have together."""

import warnings

import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from tests.parallel.launcher import run_ranks
from tests.trainer.parallel.whole_and_cut import Drawn, assert_equal, cut, leaf
from trainer.parallel.collectives import (
    copy_to_tensor,
    gather_sequence,
    reduce_from_tensor,
    reduce_scatter_sequence,
    shared_weight,
)
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.ranks import Ranks

FUNCTIONS = (
    copy_to_tensor,
    reduce_from_tensor,
    gather_sequence,
    reduce_scatter_sequence,
    shared_weight,
)


def check_values_and_gradients(ranks: Ranks) -> None:
    tensor = TensorGroup(ranks.rank, ranks.world, None, True)
    for shape in ((3, 8, 5), (8, 5)):
        drawn = Drawn(ranks)
        # One value a rank and one upstream gradient a rank, known to all.
        values = [drawn.values(*shape) for _ in range(ranks.world)]
        upstream = [drawn.values(*shape) for _ in range(ranks.world)]
        mine, mine_upstream = values[ranks.rank], upstream[ranks.rank]
        summed, summed_upstream = torch.stack(values).sum(0), torch.stack(upstream).sum(0)

        x = leaf(mine)
        y = copy_to_tensor(x, tensor)
        backward(y, mine_upstream)
        assert torch.equal(y, mine)
        assert_equal(x.grad, summed_upstream)

        x = leaf(mine)
        y = reduce_from_tensor(x, tensor)
        backward(y, mine_upstream)
        assert_equal(y, summed)
        assert x.grad is not None
        assert torch.equal(x.grad, mine_upstream)
        assert torch.equal(x, mine), "the summand itself must not change"

        x = leaf(cut(values[0], tensor, -2))
        y = gather_sequence(x, tensor)
        backward(y, mine_upstream)
        assert torch.equal(y, values[0])
        assert_equal(x.grad, cut(summed_upstream, tensor, -2))

        x = leaf(mine)
        y = reduce_scatter_sequence(x, tensor)
        backward(y, cut(upstream[0], tensor, -2))
        assert_equal(y, cut(summed, tensor, -2))
        assert x.grad is not None
        assert torch.equal(x.grad, upstream[0])

        for sequence, wanted in ((True, summed_upstream), (False, mine_upstream)):
            x = leaf(mine)
            backward(shared_weight(x, TensorGroup(ranks.rank, ranks.world, None, sequence)), mine_upstream)
            assert_equal(x.grad, wanted)


def check_another_group(ranks: Ranks) -> None:
    """Groups of two among four: messages stay within the group."""
    groups = [torch.distributed.new_group([first, first + 1]) for first in (0, 2)]
    tensor = TensorGroup(ranks.rank % 2, 2, groups[ranks.rank // 2])
    value = torch.tensor([float(ranks.rank)], dtype=torch.float64, device=ranks.device)
    assert reduce_from_tensor(value, tensor).item() == (1.0 if ranks.rank < 2 else 5.0)


def check_a_gradient_that_others_share(ranks: Ranks) -> None:
    """x + f(x): the sum over the group of one branch's gradient must not reach the other's."""
    tensor = TensorGroup(ranks.rank, ranks.world)
    x = leaf(torch.ones(4, device=ranks.device))
    backward(x + copy_to_tensor(x, tensor), torch.ones(4, device=ranks.device))
    assert x.grad is not None
    assert x.grad.tolist() == [1.0 + ranks.world] * 4


@pytest.mark.parametrize("size", [2, 4])
def test_each_message_and_its_backward(size: int) -> None:
    run_ranks(size, check_values_and_gradients)


def test_messages_stay_within_their_group() -> None:
    run_ranks(4, check_another_group)


def test_a_gradient_that_goes_two_ways_is_summed_on_one() -> None:
    run_ranks(2, check_a_gradient_that_others_share)


def test_alone_each_gives_the_very_value() -> None:
    x: Tensor = torch.ones(2, 4, 3)
    for function in FUNCTIONS:
        assert function(x, ALONE) is x
        assert function(x, TensorGroup(sequence=True)) is x


def refuse(ranks: Ranks) -> None:
    tensor = TensorGroup(ranks.rank, ranks.world, None, True)
    with pytest.raises(ValueError, match="7 tokens cannot be divided among 2 processes"):
        reduce_scatter_sequence(torch.ones(2, 7, 3, device=ranks.device), tensor)


def test_tokens_that_cannot_be_divided_are_refused() -> None:
    run_ranks(2, refuse)


def warn_of_nothing(ranks: Ranks) -> None:
    tensor = TensorGroup(ranks.rank, ranks.world, None, True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backward(gather_sequence(leaf(torch.ones(2, 4, 3, device=ranks.device)), tensor).sum())


def test_no_message_is_one_that_torch_will_drop() -> None:
    run_ranks(2, warn_of_nothing)
