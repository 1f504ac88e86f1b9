"""The model under DeepSpeed: gradients of a global batch, optimizer steps, sharded state.

The only importer of deepspeed besides trainer/checkpoint. What it promises, whatever the micro-batches,
accumulation, processes and ZeRO stage: the gradient is that of (sum of the losses of all valid tokens of the global
batch) / (their number). DeepSpeed averages over processes, so each loss is multiplied by their number first; it also
averages over accumulation steps, which we switch off, since a mean of means is wrong when masks are ragged.

Precision: fp32 weights and gradients under autocast (see `trainer.precision`). The optimizer is torch's fused AdamW,
which needs no compiler.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.data.batch import Batch
from trainer.deepspeed_config import deepspeed_config
from trainer.model.declaration import declare_parameters, parameter_count
from trainer.model.gpt import GPT, loss_sum
from trainer.parallel.layout import Layout
from trainer.precision import Precision
from trainer.ranks import Ranks
from trainer.settings import OptimizerSettings, TrainingSettings


class TrainingEngine:
    """One process's share of the training."""

    def __init__(
        self, model: GPT, settings: TrainingSettings, layout: Layout, precision: Precision, ranks: Ranks
    ) -> None:
        deepspeed = import_deepspeed(ranks.device.type)
        self.layout, self.precision, self.ranks = layout, precision, ranks
        self.shape = model.shape
        self._clipping = settings.gradient_clipping
        self._trained = _ModelWithLoss(model, ranks.device.type, precision).to(ranks.device)
        self.config = deepspeed_config(settings, layout, parameter_count(model.shape))
        deepspeed.init_distributed(dist_init_required=False)
        self.deepspeed, *_ = deepspeed.initialize(
            model=self._trained, optimizer=build_optimizer(model, settings.optimizer), config=self.config
        )

    @property
    def model(self) -> GPT:
        """The model itself; with ZeRO-3 its weights are sharded and every process must take part in its use."""
        return self._trained.model

    def compute_gradient(self, batches: Sequence[Batch], valid_tokens: int) -> float:
        """Forward and backward of this process's micro-batches; returns the sum of their losses (nats).

        `valid_tokens` counts the valid targets of the whole global batch, over all processes.
        """
        self.deepspeed.train()
        total = torch.zeros((), dtype=torch.float64, device=self.ranks.device)
        for number, batch in enumerate(batches):
            self.deepspeed.set_gradient_accumulation_boundary(number == len(batches) - 1)
            loss = self.deepspeed(*self._to_device(batch))
            total += loss.detach()
            self.deepspeed.backward(loss * (self.layout.data / valid_tokens), scale_wrt_gas=False)
        return total.item()

    def step(self, learning_rate: float) -> float:
        """Clip the gradient, follow it, and clear it; returns its norm before clipping."""
        for group in self.deepspeed.optimizer.param_groups:
            group["lr"] = learning_rate
        if self.layout.zero == 0:
            limit = self._clipping or math.inf
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit).item()
            self.deepspeed.step()
            return norm
        self.deepspeed.step()
        return float(self.deepspeed.get_global_grad_norm())

    @torch.no_grad()
    def measure(self, batch: Batch) -> float:
        """The sum of the losses (nats) of a batch's valid targets, without dropout."""
        self.deepspeed.eval()
        return float(self.deepspeed(*self._to_device(batch)).item())

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Canonical name and full fp32 CPU tensor of every parameter; every process must exhaust it."""
        deepspeed = import_deepspeed(self.ranks.device.type)
        parameters = dict(self.model.named_parameters())
        for declaration in declare_parameters(self.shape):
            parameter = parameters[declaration.name]
            if self.layout.zero == 3:
                with deepspeed.zero.GatheredParameters(parameter):
                    yield declaration.name, parameter.detach().float().cpu().clone()
            else:
                yield declaration.name, parameter.detach().float().cpu()

    def close(self) -> None:
        """Release DeepSpeed's hooks and buffers."""
        self.deepspeed.destroy()

    def _to_device(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        arrays: list[np.ndarray[Any, Any] | None] = [batch.inputs, batch.targets, batch.mask]
        device = self.ranks.device
        inputs, targets, mask = (
            None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays
        )
        assert inputs is not None
        assert targets is not None
        return inputs, targets, mask


class _ModelWithLoss(nn.Module):
    """What DeepSpeed wraps: the loss belongs to the forward pass, so that no logits leave it."""

    def __init__(self, model: GPT, device_type: str, precision: Precision) -> None:
        super().__init__()
        self.model, self.device_type, self.precision = model, device_type, precision

    def forward(self, inputs_BT: Tensor, targets_BT: Tensor, mask_BT: Tensor | None) -> Tensor:
        # DeepSpeed leaves any autocast that is entered outside of its own forward.
        with torch.autocast(self.device_type, torch.bfloat16, enabled=self.precision == "bf16"):
            if mask_BT is None:
                return loss_sum(self.model(inputs_BT), targets_BT)
            return loss_sum(self.model(inputs_BT, chosen_BT=mask_BT), targets_BT[mask_BT])


def build_optimizer(model: GPT, settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW with weight decay on the parameters whose declaration says so."""
    parameters = dict(model.named_parameters())
    declarations = declare_parameters(model.shape)
    groups = [
        {"params": [parameters[item.name] for item in declarations if item.decayed is decayed], "weight_decay": decay}
        for decayed, decay in ((True, settings.weight_decay), (False, 0.0))
    ]
    return torch.optim.AdamW(
        groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, weight_decay=0.0, fused=True
    )


def import_deepspeed(device_type: str) -> Any:
    """DeepSpeed, quiet, and without its compilations at first use."""
    with _quiet_logging(), _without_compiler():
        import deepspeed
        import deepspeed.ops
        import deepspeed.runtime.zero.muon.muon_optimizer  # imported by its ZeRO; decorates with torch.compile
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    if device_type == "cpu":
        # Its shared-memory collectives are compiled when distributed work starts (minutes on two cores, and a lock
        # that hangs later runs when killed). With no operator marked as compatible it uses plain gloo.
        deepspeed.ops.__compatible_ops__ = {}
    return deepspeed


@contextmanager
def _without_compiler() -> Iterator[None]:
    """`torch.compile` as a decorator loads the whole compiler at import: 1.3 CPU-seconds a process for nothing."""
    compiler = torch.compile
    torch.compile = lambda function=None, **_: function if function is not None else lambda later: later  # type: ignore
    try:
        yield
    finally:
        torch.compile = compiler


@contextmanager
def _quiet_logging() -> Iterator[None]:
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
