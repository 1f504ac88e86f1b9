"""How attention knows the places of tokens: rotary embedding and ALiBi.

Rotary embedding (Su et al. 2021, RoFormer, eq. 34) in the split-halves form: feature i of the first half of a head and
feature i of the second form a pair that is turned by the angle position x theta^(-2i / head width). The product of a
turned query and a turned key depends on their distance only. The tables are fp32 and so is the rotation: in bfloat16
the angles of positions beyond 256 would collide. They are made once a process and shared by all blocks of all models.

ALiBi (Press et al. 2022): the logit of a query and a key loses slope x distance, with a slope for each head.

Shapes: B sequences, T tokens, N heads, W head width, C context length.
"""

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.settings import ModelShape, RopeScaling


def rotary_tables_of(shape: ModelShape, device: torch.device) -> tuple[Tensor, Tensor]:
    """The tables of a model, [C, W] each, on a device."""
    return _tables_on(device, shape.head_width, shape.context_length, shape.rope_theta, shape.rope_scaling)


def rotary_tables(
    head_width: int, context_length: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines, each [C, W] fp32; the sine of the first half is negative.

    Computed on the CPU in fp64, so that every device gets the same bits, whatever the default device.
    """
    positions = torch.arange(context_length, dtype=torch.float64, device="cpu")
    angles = torch.outer(positions, rotary_frequencies(head_width, theta, scaling))
    magnitude = _magnitude(scaling)
    cosines = torch.cat([angles.cos(), angles.cos()], dim=-1) * magnitude
    sines = torch.cat([-angles.sin(), angles.sin()], dim=-1) * magnitude
    return cosines.float(), sines.float()


def rotary_frequencies(head_width: int, theta: float, scaling: RopeScaling | None = None) -> Tensor:
    """Angle per position of each pair, fp64 [W / 2], from fast to slow."""
    exponents = torch.arange(0, head_width, 2, dtype=torch.float64, device="cpu") / head_width
    if scaling is not None and scaling.kind == "ntk":  # the slowest pair gets slower by the factor, the fastest stays
        theta *= scaling.factor ** (head_width / (head_width - 2))
    frequencies: Tensor = theta**-exponents
    if scaling is None or scaling.kind == "ntk":
        return frequencies
    if scaling.kind == "linear":
        return frequencies / scaling.factor
    assert scaling.original_context_length is not None
    if scaling.kind == "llama3":
        turns = scaling.original_context_length * frequencies / (2 * math.pi)
        low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
        kept = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    else:
        kept = _yarn_kept(head_width, theta, scaling, scaling.original_context_length)
    return frequencies * kept + frequencies / scaling.factor * (1 - kept)


def rotate(x_BNTW: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each pair of features by its position's angle; same dtype and shape as given.

    Cosines and signed sines: [T, W], or [B, 1, T, W] where positions differ by row.
    """
    rotated_BNTW: Tensor = _Rotation.apply(x_BNTW, cosines, sines)  # type: ignore[no-untyped-call]
    return rotated_BNTW


class _Rotation(torch.autograd.Function):
    """Two passes over memory each way; torch's own steps (roll, two products, sum) take twice as many."""

    @staticmethod
    def forward(context: Any, x_BNTW: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        context.save_for_backward(cosines, sines)
        return _turned(x_BNTW, cosines, sines, 1)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient_BNTW: Tensor) -> tuple[Tensor, None, None]:
        cosines, sines = context.saved_tensors
        return _turned(gradient_BNTW, cosines, sines, -1), None, None


def _turned(x_BNTW: Tensor, cosines: Tensor, sines: Tensor, direction: int) -> Tensor:
    half = x_BNTW.shape[-1] // 2
    turned_BNTW = x_BNTW * cosines
    turned_BNTW[..., :half].addcmul_(x_BNTW[..., half:], sines[..., :half], value=direction)
    turned_BNTW[..., half:].addcmul_(x_BNTW[..., :half], sines[..., half:], value=direction)
    return turned_BNTW.to(x_BNTW.dtype)


def alibi_slopes(heads: int) -> Tensor:
    """Slope of each head, fp32 [N]: 2^(-8/N), 2^(-16/N), ... for a power of two.

    Other numbers take the slopes of the power of two below, and every second one of the power above (the authors' own
    rule).
    """
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (head + 1) / power) for head in range(power)]
    slopes += [2.0 ** (-8.0 * (2 * head + 1) / (2 * power)) for head in range(heads - power)]
    return torch.tensor(slopes)


@lru_cache(maxsize=16)
def _tables_on(
    device: torch.device, head_width: int, context_length: int, theta: float, scaling: RopeScaling | None
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # else a table first made while generating could not be trained with
        cosines, sines = rotary_tables(head_width, context_length, theta, scaling)
        return cosines.to(device), sines.to(device)


def _yarn_kept(head_width: int, theta: float, scaling: RopeScaling, original: int) -> Tensor:
    """How much of each pair's own frequency is kept, by a ramp over the pairs (section 3.2, in the pair's index)."""

    def pair_that_turns(times: float) -> float:
        return head_width * math.log(original / (times * 2 * math.pi)) / (2 * math.log(theta))

    first = max(math.floor(pair_that_turns(scaling.beta_fast)), 0)
    last = min(math.ceil(pair_that_turns(scaling.beta_slow)), head_width - 1)
    pairs = torch.arange(head_width // 2, dtype=torch.float64, device="cpu")
    return 1 - ((pairs - first) / max(last - first, 0.001)).clamp(0.0, 1.0)


def _magnitude(scaling: RopeScaling | None) -> float:
    """What turned queries and keys are multiplied by (YaRN, eq. 22)."""
    if scaling is None or scaling.kind != "yarn":
        return 1.0
    return scaling.attention_factor or 0.1 * math.log(scaling.factor) + 1.0
