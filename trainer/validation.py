"""Loss on held-out rows, and bits per byte, which compares across tokenizers.

bits per byte = (sum of the target tokens' negative log likelihoods, in nats) / ln 2 / (UTF-8 bytes of their text).
End-of-text targets cost bits and bring no bytes. On a part of the rows the bytes are taken in proportion.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data.batch import Batch, RowSource
from trainer.engine import TrainingEngine
from trainer.ranks import Ranks


@dataclass(frozen=True)
class Validation:
    """What was measured."""

    loss: float
    """Nats per valid token."""
    bits_per_byte: float | None
    """None where the rows have no text of their own."""
    tokens: int
    """Valid tokens measured on."""

    def as_line(self) -> dict[str, Any]:
        """The figures as they go into metrics and manifest."""
        return {"validation_loss": self.loss, "bits_per_byte": self.bits_per_byte, "validation_tokens": self.tokens}


def validate(
    engine: TrainingEngine,
    ranks: Ranks,
    source: RowSource,
    limit: int | None = None,
    beat: Callable[[], None] = lambda: None,
) -> Validation:
    """Measure the first `limit` rows (None: all), shared among the copies; every process must call it.

    `beat` is called before each batch, for whoever watches that it goes on.
    """
    rows = source.rows if limit is None else min(limit, source.rows)
    layout = engine.layout
    size, copy, counts = layout.micro_batch_size, layout.coordinates(ranks.rank).data, layout.is_counted(ranks.rank)
    loss, tokens = 0.0, 0
    for start in range(0, rows, size * layout.data):
        beat()
        first = start + copy * size
        chosen = np.arange(first, min(first + size, rows))
        batch = source.batch(chosen) if len(chosen) else _nothing(source)
        losses = engine.measure(batch)
        if counts:
            loss += losses.double().sum().item()
            tokens += batch.valid_tokens
    total_loss, total_tokens = ranks.sum([loss, tokens])
    mean = total_loss / total_tokens
    bits = None
    if source.text_bytes:
        tokens_of_split = total_tokens / rows * source.rows
        bits = mean / math.log(2) * tokens_of_split / source.text_bytes
    return Validation(mean, bits, int(total_tokens))


def _nothing(source: RowSource) -> Batch:
    """A row that does not count: with ZeRO-3 a process must compute along with the others to the end."""
    row = source.batch([0])
    return Batch(row.inputs, row.targets, np.zeros(row.targets.shape, dtype=bool))
