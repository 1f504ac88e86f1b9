"""The proof's material: models, ragged batches and a plain PyTorch reference, shared by the test and its processes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.data.batch import Batch
from trainer.model.declaration import declare_parameters
from trainer.model.gpt import GPT
from trainer.model.init import build_model
from trainer.settings import AdamWSettings, ModelSettings, ModelShape

STEPS = 5
ROWS = 8
# The gradient of a key's bias is zero but for rounding, which Adam would blow up to a full step with a tiny epsilon.
OPTIMIZER = AdamWSettings(lr=0.01, weight_decay=0.1, eps=1e-4)
CLIPPING = 0.3

GPT2: dict[str, Any] = {"positions": "learned", "norm": "layernorm", "activation": "gelu", "bias": True}
SHAPES: dict[str, ModelShape] = {
    name: ModelSettings(layers=2, width=16, heads=4, **style).shaped(vocab_size=31, context_length=8)
    for name, style in {"tied": {}, "untied": {"tied_embeddings": False, "kv_heads": 2}, "gpt2": GPT2}.items()
}


def global_batch(step: int) -> Batch:
    """Rows with very different numbers of valid tokens, one with none."""
    random = np.random.default_rng(step)
    inputs, targets = random.integers(0, 31, size=(2, ROWS, 8))
    valid = np.array([8, 1, 0, 3, 8, 2, 7, 1])
    mask = np.arange(8) < np.roll(valid, step)[:, None]
    return Batch(inputs, targets, mask)


def rows_of(batch: Batch, rows: slice) -> Batch:
    assert batch.mask is not None
    return Batch(batch.inputs[rows], batch.targets[rows], batch.mask[rows])


def rate_of(step: int) -> float:
    return OPTIMIZER.lr / (step + 1)


@dataclass(frozen=True)
class Reference:
    """What a plain loop computes."""

    model: GPT
    losses: list[float]
    norms: list[float]
    """Of the gradient, before clipping."""
    gradients: dict[str, Tensor]
    """Of the first step, before clipping."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """After the last step."""
        return {name: parameter.detach() for name, parameter in self.model.named_parameters()}


def plain_training(shape: ModelShape) -> Reference:
    """One process, no accumulation, no DeepSpeed: what `STEPS` steps make of the model."""
    model = build_model(shape, seed=3)
    decayed = {item.name for item in declare_parameters(shape) if len(item.shape) == 2}
    named = list(model.named_parameters())
    groups = [
        {"params": [value for name, value in named if name in decayed], "weight_decay": OPTIMIZER.weight_decay},
        {"params": [value for name, value in named if name not in decayed], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=OPTIMIZER.lr, betas=OPTIMIZER.betas, eps=OPTIMIZER.eps)
    losses, norms = [], []
    gradients: dict[str, Tensor] = {}
    for step in range(STEPS):
        batch = global_batch(step)
        assert batch.mask is not None
        logits = model(torch.from_numpy(batch.inputs))[torch.from_numpy(batch.mask)]
        loss = functional.cross_entropy(logits, torch.from_numpy(batch.targets[batch.mask]))
        loss.backward()  # type: ignore[no-untyped-call]
        if step == 0:
            gradients = {name: value.grad.clone() for name, value in named if value.grad is not None}
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIPPING).item())
        for group in optimizer.param_groups:
            group["lr"] = rate_of(step)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return Reference(model, losses, norms, gradients)


@torch.no_grad()
def plain_losses(model: GPT, batch: Batch) -> Tensor:
    """[B, T] losses; 0 where a target does not count."""
    assert batch.mask is not None
    logits = model.eval()(torch.from_numpy(batch.inputs))
    losses = functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten(), reduction="none")
    return losses.view(batch.targets.shape) * torch.from_numpy(batch.mask)
