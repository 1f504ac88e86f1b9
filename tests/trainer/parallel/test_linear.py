"""Column- and row-parallel layers against torch's linear with the whole weight, in fp64."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import backward
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tests.parallel.launcher import run_ranks
from tests.trainer.parallel.whole_and_cut import Drawn, assert_equal, cut, groups_of, leaf, tokens_of
from trainer.parallel.linear import ColumnParallelLinear, RowParallelLinear
from trainer.parallel.tensor_group import TensorGroup
from trainer.ranks import Ranks

INPUTS = 12
PARTS = {"one matrix": None, "query, key, value": (16, 16, 16), "grouped keys": (24, 4, 4), "gate, up": (20, 20)}
SHAPES = ((2, 8, INPUTS), (8, INPUTS))


def filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer.to(weight.device, torch.float64)
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}), strict=True)
    return layer


def check_column(ranks: Ranks) -> None:
    for tensor, (parts, has_bias, shape) in product(groups_of(ranks), product(PARTS.values(), (True, False), SHAPES)):
        drawn = Drawn(ranks)
        outputs = sum(parts or (16,))
        weight, x = leaf(drawn.values(outputs, INPUTS)), leaf(drawn.values(*shape))
        bias = leaf(drawn.values(outputs)) if has_bias else None
        upstream = drawn.values(*shape[:-1], outputs)
        y = functional.linear(x, weight, bias)
        backward(y, upstream)

        layer = ColumnParallelLinear(INPUTS, outputs, bias=has_bias, parts=parts, tensor=tensor)
        filled(layer, cut(weight, tensor, 0, parts), None if bias is None else cut(bias, tensor, 0, parts))
        own_x = leaf(tokens_of(x, tensor))
        own_y = layer(own_x)
        backward(own_y, cut(upstream, tensor, -1, parts))
        assert_equal(own_y, cut(y, tensor, -1, parts))
        assert_equal(own_x.grad, tokens_of(wanted(x), tensor))
        assert_equal(layer.weight.grad, cut(wanted(weight), tensor, 0, parts))
        if bias is not None:
            assert layer.bias is not None
            assert_equal(layer.bias.grad, cut(wanted(bias), tensor, 0, parts))


def check_row(ranks: Ranks) -> None:
    outputs = 9
    for tensor, (has_bias, shape) in product(groups_of(ranks), product((True, False), SHAPES)):
        drawn = Drawn(ranks)
        weight, x = leaf(drawn.values(outputs, INPUTS)), leaf(drawn.values(*shape))
        bias = leaf(drawn.values(outputs)) if has_bias else None
        upstream = drawn.values(*shape[:-1], outputs)
        y = functional.linear(x, weight, bias)
        backward(y, upstream)

        layer = RowParallelLinear(INPUTS, outputs, bias=has_bias, tensor=tensor)
        filled(layer, cut(weight, tensor, 1), bias)
        own_x = leaf(cut(x, tensor, -1))
        own_y = layer(own_x)
        backward(own_y, tokens_of(upstream, tensor))
        assert_equal(own_y, tokens_of(y, tensor))
        assert_equal(own_x.grad, cut(wanted(x), tensor, -1))
        assert_equal(layer.weight.grad, cut(wanted(weight), tensor, 1))
        if bias is not None:
            assert layer.bias is not None
            assert_equal(layer.bias.grad, wanted(bias))


def wanted(reference: Tensor) -> Tensor:
    assert reference.grad is not None
    return reference.grad


class Pair(nn.Module):
    """A feed-forward layer, as a model has it."""

    def __init__(self, tensor: TensorGroup, ranks: Ranks) -> None:
        super().__init__()
        drawn = Drawn(ranks)
        self.up = ColumnParallelLinear(INPUTS, 32, bias=True, tensor=tensor)
        self.down = RowParallelLinear(32, INPUTS, bias=True, tensor=tensor)
        filled(self.up, cut(drawn.values(32, INPUTS), tensor, 0), cut(drawn.values(32), tensor, 0))
        filled(self.down, cut(drawn.values(INPUTS, 32), tensor, 1), drawn.values(INPUTS))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(functional.gelu(self.up(x)))
        return y


def gradients(module: nn.Module) -> list[Tensor]:
    return [wanted(parameter) for parameter in module.parameters()]


def check_checkpointing(ranks: Ranks) -> None:
    for tensor in groups_of(ranks):
        results = []
        for recomputed in (False, True):
            pair, x = Pair(tensor, ranks), leaf(tokens_of(Drawn(ranks, 1).values(2, 8, INPUTS), tensor))
            y = checkpoint(pair, x, use_reentrant=False) if recomputed else pair(x)
            backward(y.square().sum())
            results.append([y.detach(), wanted(x), *gradients(pair)])
        assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


def check_frozen(ranks: Ranks) -> None:
    """Neither a weight nor an input without gradient costs one or gets one."""
    for tensor in groups_of(ranks):
        pair, x = Pair(tensor, ranks), tokens_of(Drawn(ranks, 1).values(2, 8, INPUTS), tensor)
        pair.up.weight.requires_grad_(False)
        pair.down.weight.requires_grad_(False)
        backward(pair(x).sum())
        assert pair.up.weight.grad is None
        assert pair.up.bias is not None
        assert pair.up.bias.grad is not None
        assert pair.down.weight.grad is None


def check_autocast(ranks: Ranks) -> None:
    whole = Pair(TensorGroup(), ranks).float()
    x = Drawn(ranks, 1).values(2, 8, INPUTS).float()
    device = ranks.device.type
    for tensor in groups_of(ranks):
        pair, own_x = Pair(tensor, ranks).float(), leaf(tokens_of(x, tensor))
        with torch.autocast(device, torch.bfloat16):
            y, own_y = whole(x), pair(own_x)
        assert own_y.dtype == torch.bfloat16
        whole.zero_grad()
        backward(y.float().square().mean())
        backward(own_y.float().square().sum() / y.numel())
        assert_equal(own_y.float(), tokens_of(y.float(), tensor), to=0.02)
        assert_equal(wanted(pair.up.weight), cut(wanted(whole.up.weight), tensor, 0), to=0.02)
        assert_equal(wanted(pair.down.weight), cut(wanted(whole.down.weight), tensor, 1), to=0.02)
        assert own_x.grad is not None
        assert own_x.grad.dtype == torch.float32


@pytest.mark.parametrize("size", [2, 4])
def test_column_parallel_equals_the_whole_layer(size: int) -> None:
    run_ranks(size, check_column)


@pytest.mark.parametrize("size", [2, 4])
def test_row_parallel_equals_the_whole_layer(size: int) -> None:
    run_ranks(size, check_row)


@pytest.mark.parametrize("check", [check_checkpointing, check_frozen, check_autocast])
def test_layers_under(check: object) -> None:
    run_ranks(2, check)  # type: ignore[arg-type]


def test_alone_both_are_torchs_linear() -> None:
    whole, x = nn.Linear(INPUTS, 10), torch.randn(2, 3, INPUTS)
    for layer in (ColumnParallelLinear(INPUTS, 10, bias=True), RowParallelLinear(INPUTS, 10, bias=True)):
        layer.load_state_dict(whole.state_dict(), strict=True)
        assert torch.equal(layer(x), whole(x))
        assert layer(x).grad_fn.name() == whole(x).grad_fn.name()


def test_what_cannot_be_cut_is_refused() -> None:
    four = TensorGroup(0, 4)
    with pytest.raises(ValueError, match="2 outputs cannot be divided among 4 processes"):
        ColumnParallelLinear(8, 12, bias=False, parts=(8, 2, 2), tensor=four)
    with pytest.raises(ValueError, match="6 inputs cannot be divided among 4 processes"):
        RowParallelLinear(6, 8, bias=False, tensor=four)
    with pytest.raises(ValueError, match=r"parts \[8, 2\] do not add up to 12 outputs"):
        ColumnParallelLinear(8, 12, bias=False, parts=(8, 2))
