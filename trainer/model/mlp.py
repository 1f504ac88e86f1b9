"""The feed-forward layer: what each token does with what attention brought it.

Shapes: B sequences, T tokens, D width, F inner width (of this process's part, with tensor parallelism).
"""

from torch import Tensor, nn
from torch.nn import functional

from trainer.parallel.linear import ColumnParallelLinear, RowParallelLinear
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.settings import ModelShape


def build_feed_forward(shape: ModelShape, tensor: TensorGroup = ALONE) -> nn.Module:
    """The kind that the model's `activation` names."""
    return GatedFeedForward(shape, tensor) if shape.gated else FeedForward(shape, tensor)


class FeedForward(nn.Module):
    """down(gelu(up(x))), GELU in the tanh approximation that GPT-2 was trained with."""

    def __init__(self, shape: ModelShape, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.up = ColumnParallelLinear(shape.width, shape.inner_width, bias=shape.bias, tensor=tensor)
        self.down = RowParallelLinear(shape.inner_width, shape.width, bias=shape.bias, tensor=tensor)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]"""
        y_BTD: Tensor = self.down(functional.gelu(self.up(x_BTD), approximate="tanh"))
        return y_BTD


class GatedFeedForward(nn.Module):
    """down(act(gate(x)) * up(x)), act SiLU or GELU (Shazeer 2020); gate and up are the halves of one matrix."""

    def __init__(self, shape: ModelShape, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        inner = shape.inner_width
        self.is_swish = shape.activation == "swiglu"
        self.gate_up = ColumnParallelLinear(
            shape.width, 2 * inner, bias=shape.bias, parts=(inner, inner), tensor=tensor
        )
        self.down = RowParallelLinear(inner, shape.width, bias=shape.bias, tensor=tensor)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]"""
        gate_BTF, up_BTF = self.gate_up(x_BTD).chunk(2, dim=-1)
        act_BTF = functional.silu(gate_BTF) if self.is_swish else functional.gelu(gate_BTF, approximate="tanh")
        y_BTD: Tensor = self.down(act_BTF * up_BTF)
        return y_BTD
