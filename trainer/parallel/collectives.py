"""Messages among the processes that share layers, as differentiable functions (Shoeybi et al. 2019, section 3).

A value is either the same on all processes of the group, or a part of the tokens, or a summand. Each function turns one
kind into another, and its backward turns the gradients back:

    function                  forward                     backward
    copy_to_tensor            the same                    sum
    reduce_from_tensor        sum                         the same
    gather_sequence           parts -> all tokens         sum, and take the part
    reduce_scatter_sequence   sum, and take the part      parts -> all tokens
    shared_weight             the same                    sum, where tokens are split

Tokens are the dimension before the last: [B, T, D] or [T, D]. In a group of one each returns what it was given.
Cost: one message of the value's size each; a sum is an all-reduce, which sends about twice the value.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

from trainer.parallel.tensor_group import TensorGroup

# torch 2.13 gave both a new name and warns at each use of the old one.
_all_gather: Any = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor
_reduce_scatter: Any = getattr(distributed, "reduce_scatter_single", None) or distributed.reduce_scatter_tensor

Started = Callable[[], Tensor]
"""A message under way: call it to wait and have the result."""


def copy_to_tensor(x: Tensor, tensor: TensorGroup) -> Tensor:
    """The same value, at the entry of layers that are cut: each process's gradient is a summand."""
    return x if tensor.size == 1 else _Copy.apply(x, tensor)  # type: ignore[no-untyped-call]


def reduce_from_tensor(x: Tensor, tensor: TensorGroup) -> Tensor:
    """The sum of the processes' summands."""
    return x if tensor.size == 1 else _Reduce.apply(x, tensor)  # type: ignore[no-untyped-call]


def gather_sequence(x: Tensor, tensor: TensorGroup) -> Tensor:
    """[.., T / size, D] -> [.., T, D], at the entry of layers that are cut: gradients are summands."""
    return x if tensor.size == 1 else _Gather.apply(x, tensor)  # type: ignore[no-untyped-call]


def reduce_scatter_sequence(x: Tensor, tensor: TensorGroup) -> Tensor:
    """[.., T, D] summands -> [.., T / size, D], this process's tokens of their sum.

    Raises ValueError when the tokens cannot be divided.
    """
    return x if tensor.size == 1 else _ReduceScatter.apply(x, tensor)  # type: ignore[no-untyped-call]


def shared_weight(weight: Tensor, tensor: TensorGroup) -> Tensor:
    """A weight that is whole on all processes, where each uses it for its part of the tokens only.

    Without sequence parallelism every process sees all tokens and has the whole gradient already.
    """
    return _Copy.apply(weight, tensor) if tensor.splits_sequence else weight  # type: ignore[no-untyped-call]


def start_sum(x: Tensor, tensor: TensorGroup) -> Started:
    """Begin to sum `x` over the group, in place: it must be the caller's own and contiguous."""
    work = distributed.all_reduce(x, group=tensor.group, async_op=True)
    return _finish(work, lambda: x)


def start_gather(x: Tensor, tensor: TensorGroup) -> Started:
    """Begin to collect the parts of the tokens."""
    part = x.contiguous()
    pieces, work = _start_stack(part, tensor)
    return _finish(work, lambda: pieces.movedim(0, -3).flatten(-3, -2), part)


def start_reduce_scatter(x: Tensor, tensor: TensorGroup) -> Started:
    """Begin to sum `x` over the group and keep this process's tokens."""
    size = tokens_of_part(x, tensor)
    pieces = x.reshape(*x.shape[:-2], tensor.size, size, x.shape[-1]).movedim(-3, 0).contiguous()
    part = torch.empty_like(pieces[0])
    work = _reduce_scatter(part, pieces.flatten(0, 1), group=tensor.group, async_op=True)
    return _finish(work, lambda: part, pieces)


def stack_of(x: Tensor, tensor: TensorGroup) -> Tensor:
    """[size, *shape]: the values of all processes, by rank; without a gradient."""
    pieces, work = _start_stack(x.contiguous(), tensor)
    work.wait()
    return pieces


def tokens_of_part(x: Tensor, tensor: TensorGroup) -> int:
    """Tokens that each process of the group has of `x`; ValueError when they cannot be divided."""
    tokens = x.shape[-2]
    if tokens % tensor.size:
        raise ValueError(f"sequence parallelism: {tokens} tokens cannot be divided among {tensor.size} processes")
    return tokens // tensor.size


def part_of_sequence(x: Tensor, tensor: TensorGroup) -> Tensor:
    """This process's tokens of `x`, a view."""
    size = tokens_of_part(x, tensor)
    return x.narrow(-2, tensor.rank * size, size)


def _start_stack(x: Tensor, tensor: TensorGroup) -> tuple[Tensor, Any]:
    pieces = x.new_empty(tensor.size, *x.shape)
    return pieces, _all_gather(pieces.flatten(0, 1), x, group=tensor.group, async_op=True)


def _finish(work: Any, result: Callable[[], Tensor], *_kept: Tensor) -> Started:
    """`_kept` lives until the message is over."""

    def wait() -> Tensor:
        work.wait()
        return result()

    return wait


class _Copy(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, tensor: TensorGroup) -> Tensor:
        context.tensor = tensor
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # The gradient may be another's too: the sum goes into a copy.
        return start_sum(gradient.clone(memory_format=torch.contiguous_format), context.tensor)(), None


class _Reduce(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, tensor: TensorGroup) -> Tensor:
        return start_sum(x.clone(memory_format=torch.contiguous_format), tensor)()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, tensor: TensorGroup) -> Tensor:
        context.tensor = tensor
        return start_gather(x, tensor)()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return start_reduce_scatter(gradient, context.tensor)(), None


class _ReduceScatter(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, tensor: TensorGroup) -> Tensor:
        context.tensor = tensor
        return start_reduce_scatter(x, tensor)()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return start_gather(gradient, context.tensor)(), None
