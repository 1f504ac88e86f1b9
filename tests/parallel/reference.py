"""A GPT and its training in plain PyTorch on one process, from the formulas alone: what the trainer must equal.

Shares no code with the trainer but the numbers of `ModelShape`, a batch, and, where asked, an optimizer under test.
Weights are a dictionary by canonical name. In fp64, so that what differs is the rounding of the fp32 trainer alone.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer.data.batch import Batch
from trainer.settings import ModelShape

Weights = Mapping[str, Tensor]


@dataclass
class Curve:
    """What a training went through."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    gradients: list[Weights] = field(default_factory=list)
    weights: Weights = field(default_factory=dict)


def norm(w: Weights, s: ModelShape, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True) if s.norm == "layernorm" else x
    scaled = centred / (centred.square().mean(-1, keepdim=True) + s.norm_epsilon).sqrt() * w[f"{name}.weight"]
    return scaled + w.get(f"{name}.bias", 0.0)


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def attend(w: Weights, s: ModelShape, name: str, x: Tensor, places: Tensor, seen: Tensor) -> Tensor:
    width, group = s.width // s.heads, s.heads // s.key_value_heads
    q, k, v = linear(w, f"{name}.query_key_value", x).tensor_split([s.width, s.width + s.width // group], -1)
    q, k, v = (part.unflatten(-1, (-1, width)).transpose(1, 2) for part in (q, k, v))  # type: ignore[no-untyped-call]
    if s.qk_norm:  # of each head, without the mean
        q, k = (part / (part.square().mean(-1, keepdim=True) + s.norm_epsilon).sqrt() for part in (q, k))
        q, k = q * w[f"{name}.query_norm.weight"], k * w[f"{name}.key_norm.weight"]
    if s.positions == "rope":  # features i and i + width / 2 are the parts of a complex number that is turned
        turn = (1j * places[:, None, :, None] * s.rope_theta ** -torch.arange(0.0, 1, 2 / width).double()).exp()
        turned = [torch.complex(*part.chunk(2, -1)) * turn for part in (q, k)]
        q, k = (torch.cat([part.real, part.imag], -1) for part in turned)
    k, v = (part.repeat_interleave(group, 1) for part in (k, v))
    logits = (q @ k.transpose(2, 3) / math.sqrt(width)).masked_fill(~seen[:, None], -math.inf)
    return linear(w, f"{name}.output", (logits.softmax(-1) @ v).transpose(1, 2).flatten(2))


def token_losses(w: Weights, s: ModelShape, batch: Batch, z_loss: float = 0.0) -> Tensor:
    """[B, T], 0 where a target does not count."""
    tokens, later = torch.from_numpy(batch.inputs), torch.arange(batch.inputs.shape[1])
    earlier = later[:, None] - later
    seen, document = (earlier >= 0).expand(len(tokens), -1, -1), torch.ones(1, 1, 1, dtype=torch.bool)
    if batch.prefix is not None:
        inside = later < torch.from_numpy(batch.prefix)[:, None]
        seen = seen | (inside[:, None] & inside[:, :, None])
    if batch.segments is not None:
        document = torch.from_numpy(batch.segments[:, None] == batch.segments[:, :, None])
    places = (document & (earlier > 0)).sum(-1)
    x = (
        w["token_embedding.weight"][tokens]
        + w.get("position_embedding.weight", torch.zeros(s.context_length, 1))[places]
    )
    for layer in range(s.layers):
        at = f"blocks.{layer}"
        near = earlier.abs() < (s.window_of(layer) or math.inf)
        x = x + attend(w, s, f"{at}.attention", norm(w, s, f"{at}.attention_norm", x), places, seen & document & near)
        y = norm(w, s, f"{at}.feed_forward_norm", x)
        if s.activation == "swiglu":
            gate, y = linear(w, f"{at}.feed_forward.gate_up", y).chunk(2, -1)
            y = y * gate * gate.sigmoid()
        else:
            y = linear(w, f"{at}.feed_forward.up", y)
            y = y / 2 * (1 + (math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)).tanh())
        x = x + linear(w, f"{at}.feed_forward.down", y)
    logits = norm(w, s, "final_norm", x) @ w.get("output.weight", w["token_embedding.weight"]).T
    total = logits.exp().sum(-1).log()
    chosen = logits.gather(-1, torch.from_numpy(batch.targets)[..., None])[..., 0]
    return (total - chosen + z_loss * total**2) * (1 if batch.mask is None else torch.from_numpy(batch.mask))


def train(
    initial: Weights,
    shape: ModelShape,
    steps: Iterable[tuple[Batch, float]],
    clipping: float,
    optimizer_of: Callable[[dict[str, Any]], torch.optim.Optimizer],
    z_loss: float = 0.0,
) -> Curve:
    w = {name: torch.nn.Parameter(value.double()) for name, value in initial.items()}
    optimizer, curve = optimizer_of(w), Curve()
    for batch, rate in steps:
        optimizer.zero_grad()
        loss = token_losses(w, shape, batch, z_loss).sum() / batch.valid_tokens
        loss.backward()  # type: ignore[no-untyped-call]
        curve.losses.append(loss.item())
        curve.gradients.append({name: value.grad.clone() for name, value in w.items() if value.grad is not None})
        curve.norms.append(torch.nn.utils.clip_grad_norm_(w.values(), clipping).item())
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    curve.weights = {name: value.detach() for name, value in w.items()}
    return curve
