"""Rotary position embedding (Su et al. 2021, RoFormer, eq. 34), in the split-halves form.

Feature i of the first half of a head and feature i of the second form a pair that is turned by the angle
position x theta^(-2i / head width). The product of a turned query and a turned key depends on their distance only.
The tables are fp32 and so is the rotation: in bfloat16 the angles of positions beyond 256 would collide.

Shapes: B sequences, T tokens, N heads, W head width, C context length.
"""

import torch
from torch import Tensor, nn


class RotaryEmbedding(nn.Module):
    """The tables of one model, shared by its layers; not parameters and not in the weights."""

    cosines_CW: Tensor
    sines_CW: Tensor

    def __init__(self, head_width: int, context_length: int, theta: float) -> None:
        super().__init__()
        self.head_width, self.context_length, self.theta = head_width, context_length, theta
        cosines_CW, sines_CW = rotary_tables(head_width, context_length, theta)
        self.register_buffer("cosines_CW", cosines_CW, persistent=False)
        self.register_buffer("sines_CW", sines_CW, persistent=False)

    def forward(self, start: int, tokens: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [T, W] of `tokens` positions from `start`."""
        return self.cosines_CW[start : start + tokens], self.sines_CW[start : start + tokens]


def rotary_tables(head_width: int, context_length: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines, each [C, W] fp32; the sine of the first half is negative.

    Computed on the CPU in fp64, so that every device gets the same bits, whatever the default device.
    """
    exponents = torch.arange(0, head_width, 2, dtype=torch.float64, device="cpu") / head_width
    positions = torch.arange(context_length, dtype=torch.float64, device="cpu")
    angles = torch.outer(positions, theta**-exponents)
    cosines = torch.cat([angles.cos(), angles.cos()], dim=-1)
    sines = torch.cat([-angles.sin(), angles.sin()], dim=-1)
    return cosines.float(), sines.float()


def rotate(x_BNTW: Tensor, cosines_TW: Tensor, sines_TW: Tensor) -> Tensor:
    """Turn each pair of features by its position's angle; same dtype and shape as given."""
    swapped = x_BNTW.roll(x_BNTW.shape[-1] // 2, dims=-1)
    return (x_BNTW * cosines_TW + swapped * sines_TW).to(x_BNTW.dtype)
