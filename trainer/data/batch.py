"""What the loop asks of training data: rows by number, whatever they are made of.

The token dataset is one source, finetuning conversations another. A source holds no cursor: the loop says which
rows a step sees (`trainer.data.order`), so a source can neither repeat nor skip data after a resume.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Batch:
    """Rows ready for the model: B rows of T tokens."""

    inputs: npt.NDArray[np.int64]
    """[B, T] token ids that the model is given."""
    targets: npt.NDArray[np.int64]
    """[B, T] token ids that it should say next."""
    mask: npt.NDArray[np.bool_] | None = None
    """[B, T] true where the target counts; None: everywhere."""
    segments: npt.NDArray[np.int32] | None = None
    """[B, T] number of the input's document within its row, from 0; padding is one more. None: a row is one document.
    Attention that keeps documents apart looks only at inputs of the same number."""
    prefix: npt.NDArray[np.int32] | None = None
    """[B] inputs at the beginning of each row that also see those after them, up to there. None: no row has such."""

    @property
    def valid_tokens(self) -> int:
        """Targets that count."""
        return self.targets.size if self.mask is None else int(self.mask.sum())

    def digest(self) -> str:
        """SHA-256 of the content: two equal digests saw the same data."""
        hashed = hashlib.sha256()
        arrays: list[npt.NDArray[Any]] = [self.inputs, self.targets]
        arrays += [array for array in (self.mask, self.segments, self.prefix) if array is not None]
        for array in arrays:
            hashed.update(f"{array.dtype.str}{array.shape}".encode())
            hashed.update(np.ascontiguousarray(array).data)
        return hashed.hexdigest()


@dataclass(frozen=True)
class TextPart:
    """A part of a split's targets that a validation tells apart: a source of a dataset."""

    groups: tuple[str, ...]
    """What its figures are added to: its own name, and in a mixture that of its dataset."""
    tokens: int
    """Targets of the split that belong to it."""
    text_bytes: int
    """UTF-8 bytes of their text."""


class RowSource(Protocol):
    """One split of a dataset."""

    @property
    def rows(self) -> int:
        """Rows in the split."""

    @property
    def text_bytes(self) -> int | None:
        """UTF-8 bytes of the text of all valid targets, for bits per byte; None where it has no meaning."""

    @property
    def text_parts(self) -> tuple[TextPart, ...]:
        """What the split is made of; empty where there is nothing to tell apart."""

    def text_parts_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """[len(rows), T] place in `text_parts` of each target, -1 for padding; 0 where there are no parts."""

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """The rows of these numbers (each in [0, rows)), in this order."""

    def arranged(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The same rows in the order in which cutting them into micro-batches wastes least on padding."""


@dataclass(frozen=True)
class TrainingData:
    """Everything a run learns from and is measured on."""

    train: RowSource
    validation: RowSource
    fingerprint: str
    """Changes when any row of either split changes."""
    tokenizer_fingerprint: str
    """SHA-256 of the tokenizer.json that made the tokens."""
    context_length: int
    """Tokens of a row, T."""
    vocab_size: int
    """Token ids are below this."""
