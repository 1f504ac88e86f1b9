"""Normalisation of the residual stream before each layer."""

from torch import nn

from trainer.settings import ModelShape


def build_norm(shape: ModelShape) -> nn.Module:
    """RMSNorm (Zhang & Sennrich 2019) or LayerNorm (Ba et al. 2016) over the width.

    Autocast keeps both in fp32: their sums over the width are where bfloat16 would lose most.
    """
    if shape.norm == "rmsnorm":
        return nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
    return nn.LayerNorm(shape.width, eps=shape.norm_epsilon, bias=shape.bias)
