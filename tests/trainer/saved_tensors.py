"""What autograd keeps of a forward pass: the storages of all saved tensors, each once, without parameters."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from trainer.model.gpt import GPT
from trainer.model.rows import RowContext
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.parallel.vocabulary import token_losses
from trainer.settings import ModelShape


def kept_bytes(
    shape: ModelShape, rows: int, *, bf16: bool, checkpointed: bool = False, tensor: TensorGroup = ALONE
) -> tuple[int, int]:
    """(bytes kept as activations, bytes kept as 16-bit copies of weights) by a forward pass with its loss.

    `rows` x tokens must not be a dimension of a weight, so that the two can be told apart.
    """
    model = GPT(shape, tensor)
    model.checkpointed = checkpointed
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    weights = {frozenset(parameter.shape) for parameter in model.parameters()}
    activations: dict[int, int] = {}
    copies: dict[int, int] = {}
    kept = []

    def keep(saved: Tensor) -> Tensor:
        kept.append(saved)  # so that no storage is used again under the same address
        place = saved.untyped_storage().data_ptr()
        is_copy = saved.dtype == torch.bfloat16 and frozenset(saved.shape) in weights
        if place not in own:
            (copies if is_copy else activations)[place] = saved.untyped_storage().nbytes()
        return saved

    drawn = np.random.default_rng(0).integers(0, shape.vocab_size, (2, rows, shape.context_length))
    inputs, targets = torch.from_numpy(drawn)
    context = RowContext()
    with saved_tensors_hooks(keep, lambda saved: saved), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = model(inputs, context=context)
        loss = token_losses(logits, targets, shape.vocab_size, tensor).sum()
    assert math.isfinite(loss.item())
    return sum(activations.values()), sum(copies.values())
