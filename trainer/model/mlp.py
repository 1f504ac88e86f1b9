"""The feed-forward layer: what each token does with what attention brought it.

Shapes: B sequences, T tokens, D width, F inner width.
"""

from torch import Tensor, nn
from torch.nn import functional

from trainer.settings import ModelShape


def build_feed_forward(shape: ModelShape) -> nn.Module:
    """The kind that the model's `activation` names."""
    return GatedFeedForward(shape) if shape.activation == "swiglu" else FeedForward(shape)


class FeedForward(nn.Module):
    """down(gelu(up(x))), GELU in the tanh approximation that GPT-2 was trained with."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.width, shape.inner_width, bias=shape.bias)
        self.down = nn.Linear(shape.inner_width, shape.width, bias=shape.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]"""
        y_BTD: Tensor = self.down(functional.gelu(self.up(x_BTD), approximate="tanh"))
        return y_BTD


class GatedFeedForward(nn.Module):
    """down(silu(gate(x)) * up(x)) (Shazeer 2020, SwiGLU); gate and up are the halves of one matrix."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gate_up = nn.Linear(shape.width, 2 * shape.inner_width, bias=shape.bias)
        self.down = nn.Linear(shape.inner_width, shape.width, bias=shape.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]"""
        gate_BTF, up_BTF = self.gate_up(x_BTD).chunk(2, dim=-1)
        y_BTD: Tensor = self.down(functional.silu(gate_BTF) * up_BTF)
        return y_BTD
