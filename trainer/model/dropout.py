"""Dropout that knows who shares what.

What all processes of a tensor group have alike (the residual stream) must be dropped alike on all; each process's own
tokens (sequence parallelism) or heads must not. Rates of zero and evaluation cost nothing.
"""

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.nn import functional

from trainer.parallel.random import split_random
from trainer.parallel.tensor_group import ALONE, TensorGroup


class ResidualDropout(nn.Module):
    """Dropout of what is added to the residual stream, and of the embedding."""

    def __init__(self, rate: float, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.rate, self.tensor = rate, tensor

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Same shape."""
        if not self.training or self.rate == 0.0:
            return x_BTD
        with own_random(self.tensor, self.tensor.splits_sequence):
            return functional.dropout(x_BTD, self.rate)


def own_random(tensor: TensorGroup, needed: bool) -> AbstractContextManager[None]:
    """Random numbers of this process's own where needed, else the ones that all of the group have."""
    return split_random(tensor) if needed and tensor.size > 1 else nullcontext()
