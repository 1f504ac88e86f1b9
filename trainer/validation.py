"""Loss on held-out rows: of all of them, and of each dataset and source that they come from.

    perplexity    e ^ loss; compares only models of one tokenizer
    bits per byte loss x targets / ln 2 / UTF-8 bytes of their text; compares across tokenizers

End-of-text targets cost bits and bring no bytes. Where only a part of the rows is measured the bytes are taken in
proportion to the targets. Each row belongs to one data-parallel copy; all processes of a copy measure the same rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.batch import Batch, RowSource, TextPart
from trainer.engine import TrainingEngine
from trainer.ranks import Ranks


@dataclass(frozen=True)
class Measured:
    """Figures of some targets."""

    loss: float
    """Nats per target."""
    tokens: int
    """Targets measured on."""
    bits_per_byte: float | None
    """None where the rows have no text of their own."""

    @property
    def perplexity(self) -> float:
        """e ^ loss; infinite where that is beyond floating point."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


@dataclass(frozen=True)
class Validation(Measured):
    """What was measured on all rows."""

    by_source: dict[str, Measured] = field(default_factory=dict)
    """The same by source; in a mixture by dataset, and by `dataset/source`. Empty where there is only one."""

    def as_line(self) -> dict[str, Any]:
        """The figures as they go into metrics and manifest."""
        line: dict[str, Any] = {
            "validation_loss": self.loss,
            "perplexity": self.perplexity,
            "bits_per_byte": self.bits_per_byte,
            "validation_tokens": self.tokens,
        }
        if self.by_source:
            line["by_source"] = {
                name: {"loss": found.loss, "bits_per_byte": found.bits_per_byte, "tokens": found.tokens}
                for name, found in self.by_source.items()
            }
        return line


def validate(
    engine: TrainingEngine,
    ranks: Ranks,
    source: RowSource,
    limit: int | None = None,
    beat: Callable[[], None] = lambda: None,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Validation | None:
    """Measure the first `limit` rows (None: all), shared among the copies; every process must call it.

    `beat` is called before each batch, for whoever watches that it goes on. `asked_to_stop` is called after each batch
    but the last and must say the same on all processes; None is returned when it says yes.
    """
    rows = source.rows if limit is None else min(limit, source.rows)
    layout, parts = engine.layout, source.text_parts
    size, copy = layout.micro_batch_size, layout.coordinates(ranks.rank).data
    counts = layout.is_counted(ranks.rank)
    sums = np.zeros((2, 1 + len(parts)))  # losses and targets; of all, then of each part
    for start in range(0, rows, size * layout.data):
        if start and asked_to_stop():
            return None
        beat()
        chosen = np.arange(start + copy * size, min(start + (copy + 1) * size, rows), dtype=np.int64)
        batch = source.batch(chosen) if len(chosen) else _nothing(source)
        losses_BT = engine.measure(batch).double().numpy()
        if counts and len(chosen):
            sums += _sums(losses_BT, batch, source.text_parts_of(chosen) if parts else None, len(parts))
    total = np.array(ranks.sum(sums.flatten().tolist())).reshape(sums.shape)
    loss, tokens = float(total[0, 0] / total[1, 0]), int(total[1, 0])
    bits = None
    if source.text_bytes:
        bits = loss / math.log(2) * (tokens / rows * source.rows) / source.text_bytes
    return Validation(loss, tokens, bits, _by_source(parts, total[:, 1:]))


def _sums(
    losses_BT: npt.NDArray[np.float64], batch: Batch, places_BT: npt.NDArray[np.int64] | None, parts: int
) -> npt.NDArray[np.float64]:
    """[2, 1 + parts] sum of the losses and number of the targets that count, of all and of each part."""
    valid_BT = np.ones(losses_BT.shape, bool) if batch.mask is None else batch.mask
    sums = [[losses_BT.sum(where=valid_BT)], [float(valid_BT.sum())]]
    if places_BT is not None:
        known = valid_BT & (places_BT >= 0)
        places = places_BT[known]
        sums[0] += np.bincount(places, losses_BT[known], parts).tolist()
        sums[1] += np.bincount(places, minlength=parts).tolist()
    return np.array(sums)


def _by_source(parts: tuple[TextPart, ...], sums: npt.NDArray[np.float64]) -> dict[str, Measured]:
    """Figures of each group that the parts belong to, of those that were measured on."""
    names = dict.fromkeys(name for part in parts for name in part.groups)
    found: dict[str, Measured] = {}
    for name in names:
        places = [place for place, part in enumerate(parts) if name in part.groups]
        loss, tokens = sums[:, places].sum(axis=1).tolist()
        if not tokens:
            continue
        text_bytes = sum(parts[place].text_bytes for place in places)
        of_split = sum(parts[place].tokens for place in places)
        bits = loss / math.log(2) / tokens * of_split / text_bytes if text_bytes else None
        found[name] = Measured(loss / tokens, int(tokens), bits)
    return found


def _nothing(source: RowSource) -> Batch:
    """A row that does not count: a process must compute along with the others to the end."""
    row = source.batch([0])
    return Batch(row.inputs, row.targets, np.zeros(row.targets.shape, dtype=bool), row.segments, row.prefix)
