"""Normalisation of the residual stream, and of queries and keys.

RMSNorm (Zhang & Sennrich 2019) or LayerNorm (Ba et al. 2016). Autocast keeps both in fp32: their sums over the width
are where bfloat16 would lose most. Every tensor-parallel process has the whole gains; where each sees only a part of
the tokens (sequence parallelism) or of the heads, their gradients are summed.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.parallel.collectives import copy_to_tensor, shared_weight
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.settings import ModelShape


def build_norm(shape: ModelShape, tensor: TensorGroup = ALONE) -> nn.Module:
    """Of the residual stream, over the width."""
    if shape.norm == "rmsnorm":
        return RMSNorm(shape, tensor)
    return LayerNorm(shape, tensor)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) x gains."""

    def __init__(self, shape: ModelShape, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.epsilon, self.tensor = shape.norm_epsilon, tensor
        self.weight = nn.Parameter(torch.empty(shape.width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Same shape."""
        gains_D = shared_weight(self.weight, self.tensor)
        return functional.rms_norm(x_BTD, gains_D.shape, gains_D, self.epsilon)


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) x gains + shifts; without shifts where the model has no biases."""

    bias: nn.Parameter | None

    def __init__(self, shape: ModelShape, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.epsilon, self.tensor = shape.norm_epsilon, tensor
        self.weight = nn.Parameter(torch.empty(shape.width))
        self.register_parameter("bias", nn.Parameter(torch.empty(shape.width)) if shape.bias else None)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Same shape."""
        gains_D = shared_weight(self.weight, self.tensor)
        shifts_D = None if self.bias is None else shared_weight(self.bias, self.tensor)
        return functional.layer_norm(x_BTD, gains_D.shape, gains_D, shifts_D, self.epsilon)


class HeadNorm(nn.Module):
    """RMSNorm of each head's queries or keys (Dehghani et al. 2023); the gains are the same for all heads."""

    def __init__(self, shape: ModelShape, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.epsilon, self.tensor = shape.norm_epsilon, tensor
        self.weight = nn.Parameter(torch.empty(shape.head_width))

    def forward(self, x_BNTW: Tensor) -> Tensor:
        """Same shape and dtype; of this process's heads."""
        gains_W = copy_to_tensor(self.weight, self.tensor)
        wide_BNTW = x_BNTW.to(torch.promote_types(x_BNTW.dtype, torch.float32))
        return functional.rms_norm(wide_BNTW, gains_W.shape, gains_W, self.epsilon).to(x_BNTW.dtype)
