"""Linear layers of which each process of a tensor group has a part (Shoeybi et al. 2019, section 3).

A column-parallel layer has a part of the outputs, a row-parallel one a part of the inputs; one after the other they
need one sum forward (after the second) and one backward (before the first). With sequence parallelism (Korthikanti et
al. 2022) each sum is a gather and a reduce-scatter, which send as much.

Decisions. Weights are local, [outputs, inputs], and come from outside (`trainer.model.init`): the layers do not fill
them. The messages of the backward pass run while the weight's gradient is computed. What is saved for the backward
pass under sequence parallelism is the part of the tokens; they are gathered again.

In a group of one both are torch's linear, at its cost.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from trainer.parallel.collectives import start_gather, start_reduce_scatter, start_sum
from trainer.parallel.tensor_group import ALONE, TensorGroup


class ColumnParallelLinear(nn.Module):
    """y = x W^T + b with the outputs cut: each process computes its part of y from all of x.

    `parts` are the sizes of matrices that lie one below the other in W (query, key, value; gate, up): each is cut by
    itself, so that a process has the same heads or features of each. Raises ValueError when one cannot be cut.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool,
        parts: Sequence[int] | None = None,
        tensor: TensorGroup = ALONE,
    ) -> None:
        super().__init__()
        self.tensor = tensor
        whole = (outputs,) if parts is None else tuple(parts)
        if sum(whole) != outputs:
            raise ValueError(f"parts {list(whole)} do not add up to {outputs} outputs")
        self.local_parts = tuple(share(part, tensor.size, "outputs") for part in whole)
        """Sizes of the matrices in this process's weight."""
        self.weight = nn.Parameter(torch.empty(sum(self.local_parts), inputs))
        self.register_parameter("bias", nn.Parameter(torch.empty(sum(self.local_parts))) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """[.., T, inputs] -> [.., T, outputs / size]; with sequence parallelism x has T / size tokens."""
        return column_parallel(x, self.weight, self.bias, self.tensor)


class RowParallelLinear(nn.Module):
    """y = x W^T + b with the inputs cut: each process has a summand of y from its part of x.

    The bias is whole on every process. Raises ValueError when the inputs cannot be cut.
    """

    bias: nn.Parameter | None

    def __init__(self, inputs: int, outputs: int, *, bias: bool, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.tensor = tensor
        self.weight = nn.Parameter(torch.empty(outputs, share(inputs, tensor.size, "inputs")))
        self.register_parameter("bias", nn.Parameter(torch.empty(outputs)) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """[.., T, inputs / size] -> [.., T, outputs]; with sequence parallelism y has T / size tokens."""
        if self.tensor.size == 1:
            return functional.linear(x, self.weight, self.bias)
        y: Tensor = _RowParallel.apply(*_as_autocast(x, self.weight, self.bias), self.tensor)  # type: ignore[no-untyped-call]
        return y


def column_parallel(x: Tensor, weight: Tensor, bias: Tensor | None, tensor: TensorGroup) -> Tensor:
    """This process's outputs of a linear layer; shapes as in `ColumnParallelLinear`."""
    if tensor.size == 1:
        return functional.linear(x, weight, bias)
    y: Tensor = _ColumnParallel.apply(*_as_autocast(x, weight, bias), tensor)  # type: ignore[no-untyped-call]
    return y


def share(whole: int, size: int, what: str) -> int:
    """A process's part of `whole` inputs or outputs; ValueError when it cannot be cut."""
    if whole % size:
        raise ValueError(f"{whole} {what} cannot be divided among {size} processes")
    return whole // size


def _as_autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The operands in the type that autocast would give them; their gradients come back in their own.

    Autocast reaches the forward pass of a function of one's own, but not its backward.
    """
    device = x.device.type
    if not torch.is_autocast_enabled(device):
        return x, weight, bias
    dtype = torch.get_autocast_dtype(device)
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


class _ColumnParallel(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor | None, tensor: TensorGroup) -> Tensor:
        context.tensor, context.has_bias = tensor, bias is not None
        context.save_for_backward(x, weight)
        whole = start_gather(x, tensor)() if tensor.sequence else x
        return functional.linear(whole, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(context: Any, y_gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        tensor: TensorGroup = context.tensor
        x, weight = context.saved_tensors
        gathered = start_gather(x, tensor) if tensor.sequence and context.needs_input_grad[1] else None
        summed = None
        if context.needs_input_grad[0]:
            summand = y_gradient @ weight
            summed = start_reduce_scatter(summand, tensor) if tensor.sequence else start_sum(summand, tensor)
        weight_gradient = bias_gradient = None
        if context.needs_input_grad[1]:
            weight_gradient = _weight_gradient(y_gradient, x if gathered is None else gathered())
        if context.has_bias and context.needs_input_grad[2]:
            bias_gradient = y_gradient.flatten(0, -2).sum(0)
        return None if summed is None else summed(), weight_gradient, bias_gradient, None


class _RowParallel(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor | None, tensor: TensorGroup) -> Tensor:
        context.tensor, context.has_bias = tensor, bias is not None
        context.save_for_backward(x, weight)
        summand = functional.linear(x, weight)
        y = (start_reduce_scatter(summand, tensor) if tensor.sequence else start_sum(summand, tensor))()
        return y if bias is None else y.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(context: Any, y_gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = context.saved_tensors
        # All tokens' gradients: so the bias, whole on every process, needs no sum over the group.
        whole = start_gather(y_gradient, context.tensor)() if context.tensor.sequence else y_gradient
        x_gradient = whole @ weight if context.needs_input_grad[0] else None
        weight_gradient = _weight_gradient(whole, x) if context.needs_input_grad[1] else None
        bias_gradient = whole.flatten(0, -2).sum(0) if context.has_bias and context.needs_input_grad[2] else None
        return x_gradient, weight_gradient, bias_gradient, None


def _weight_gradient(y_gradient: Tensor, x: Tensor) -> Tensor:
    return y_gradient.flatten(0, -2).t() @ x.flatten(0, -2)
