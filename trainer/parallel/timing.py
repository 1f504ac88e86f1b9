"""How long each layer takes, for stages that are even in time rather than in counted arithmetic.

Timed on one process, with whole layers whatever the tensor parallelism: only their ratios matter. Blocks of one kind
are timed once. Cost: a few passes through an embedding, a block of each kind and the head, and their memory.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainer.model.gpt import Block, Embedding, Head, run_block
from trainer.model.rows import RowContext
from trainer.parallel.vocabulary import token_losses
from trainer.precision import Precision, autocast
from trainer.settings import ModelShape

REPEATS = 3
"""Of which the fastest counts; one more comes before."""


def measured_costs(shape: ModelShape, rows: int, precision: Precision, device: torch.device) -> list[float]:
    """Seconds of a forward and backward pass of `rows` full rows through embedding, each block and head."""
    tokens_BT = torch.zeros(rows, shape.context_length, dtype=torch.int64, device=device)
    x_BTD = torch.randn(rows, shape.context_length, shape.width, device=device)
    embedding, head = _filled(Embedding(shape), device), _filled(Head(shape), device)
    context = RowContext()

    def losses() -> Tensor:
        return token_losses(head(x_BTD), tokens_BT, shape.vocab_size).sum()

    blocks: dict[int | None, float] = {}
    for layer in range(shape.layers):
        if (window := shape.window_of(layer)) not in blocks:
            block = _filled(Block(shape, layer), device)
            blocks[window] = _seconds(lambda block=block: run_block(block, x_BTD, context), precision, device)  # type: ignore[misc]
    return [
        _seconds(lambda: embedding(tokens_BT), precision, device),
        *(blocks[shape.window_of(layer)] for layer in range(shape.layers)),
        _seconds(losses, precision, device),
    ]


def _filled(module: nn.Module, device: torch.device) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.02)
    return module.to(device)


def _seconds(forward: Callable[[], Tensor], precision: Precision, device: torch.device) -> float:
    best = float("inf")
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        with autocast(device.type, precision):
            result = forward()
        result.float().sum().backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best
