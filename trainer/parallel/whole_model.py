"""Forward and backward passes where every process has all layers, or its tensor-parallel part of each.

The loss belongs to the forward pass, so that no logits leave it, and only the logits of targets that count are
computed: in finetuning these are few.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.data.batch import Batch
from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.model.gpt import GPT
from trainer.model.init import empty_model
from trainer.model.rows import RowContext
from trainer.parallel.groups import ProcessGroups
from trainer.parallel.vocabulary import token_losses
from trainer.precision import Precision, autocast
from trainer.settings import ModelShape, TrainingSettings


class WholeModel:
    """The execution of a layout without a pipeline; see `trainer.engine.Execution`."""

    def __init__(
        self,
        shape: ModelShape,
        weights: Callable[[ParameterDeclaration], Tensor],
        settings: TrainingSettings,
        precision: Precision,
        groups: ProcessGroups,
        device: torch.device,
    ) -> None:
        tensor = groups.tensor_group
        self.model = empty_model(shape, tensor)
        declarations = declare_parameters(shape)
        values = {item.name: item.local(weights(item), tensor.rank, tensor.size) for item in declarations}
        self.model.load_state_dict(values, strict=True, assign=True)
        self.model.requires_grad_(True).checkpointed = settings.activation_checkpointing == "blocks"
        if settings.compile:
            for block in self.model.blocks:
                block.compile()
        self.module = ModelWithLoss(self.model, settings.z_loss, precision, device.type).to(device)
        self.named = {item.name: self.model.get_parameter(item.name) for item in declarations}
        self.stage_of = {item.name: 0 for item in declarations}
        self._counts = groups.place.tensor == 0
        self._is_only_copy = groups.layout.data == 1
        self._device = device
        self._deepspeed: Any = None

    def start(self, deepspeed: Any) -> None:
        """See `Execution`."""
        self._deepspeed = deepspeed
        if self._is_only_copy and deepspeed.zero_optimization_stage() == 0:
            deepspeed.enable_backward_allreduce = False  # it would copy all gradients, to send them to nobody

    def backward(self, batches: Sequence[Batch], factor: float) -> float:
        """See `Execution`."""
        self._deepspeed.train()
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for number, batch in enumerate(batches):
            self._deepspeed.set_gradient_accumulation_boundary(number == len(batches) - 1)
            loss = self._deepspeed(*to_device(batch, self._device))
            total += loss.detach()
            self._deepspeed.backward(loss * factor, scale_wrt_gas=False)
        return total.item() if self._counts else 0.0

    def take_step(self) -> None:
        """See `Execution`."""
        self._deepspeed.step()

    @torch.no_grad()
    def measure(self, batch: Batch) -> Tensor:
        """See `Execution`."""
        self._deepspeed.eval()
        losses_BT: Tensor = self._deepspeed(*to_device(batch, self._device), measured=True)
        return losses_BT.cpu()

    def clear_copies(self) -> None:
        """See `Execution`: there are none."""

    def copy_tied_weights(self) -> None:
        """See `Execution`: there are none."""


class ModelWithLoss(nn.Module):
    """What DeepSpeed wraps."""

    def __init__(self, model: GPT, z_loss: float, precision: Precision, device_type: str) -> None:
        super().__init__()
        self.model, self.z_loss, self.precision, self.device_type = model, z_loss, precision, device_type

    def forward(
        self,
        inputs_BT: Tensor,
        targets_BT: Tensor,
        mask_BT: Tensor | None,
        context: RowContext,
        measured: bool = False,
    ) -> Tensor:
        """The sum of the losses (nats) of the targets that count; `measured`: [B, T], without z-loss."""
        # DeepSpeed leaves any autocast that is entered outside of its own forward.
        with autocast(self.device_type, self.precision):
            logits = self.model(inputs_BT, chosen_BT=mask_BT, context=context)
            targets = targets_BT if mask_BT is None else targets_BT[mask_BT]
            z_loss = 0.0 if measured else self.z_loss
            losses = token_losses(logits, targets, self.model.shape.vocab_size, self.model.tensor, z_loss)
        return spread(losses, mask_BT) if measured else losses.sum()


def spread(losses: Tensor, mask_BT: Tensor | None) -> Tensor:
    """[B, T] losses from those [N] of the targets that count; 0 elsewhere."""
    if mask_BT is None:
        return losses.float()
    losses_BT = torch.zeros(mask_BT.shape, device=losses.device)
    losses_BT[mask_BT] = losses.float()
    return losses_BT


def to_device(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None, RowContext]:
    """Inputs, targets, mask and context as tensors there."""

    def sent(array: np.ndarray[Any, Any] | None) -> Tensor | None:
        return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(device)

    inputs_BT, targets_BT = sent(batch.inputs), sent(batch.targets)
    assert inputs_BT is not None
    assert targets_BT is not None
    context = RowContext(sent(batch.segments), sent(batch.prefix))
    return inputs_BT, targets_BT, sent(batch.mask), context
