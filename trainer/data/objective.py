"""What of its rows a run learns from: all of each, or the rest after a prefix; documents kept apart, or not.

A prefix decoder (Liu et al. 2018; Raffel et al. 2020, section 3.2.1) reads the beginning of a row in both directions
and predicts the rest. In finetuning the beginning is what comes before the first word of an answer. In pretraining it
ends at a random place, uniform over the row; the place is a hash of the run's seed and the row's number, so that it
depends neither on the step, nor on the batch, nor on the processes.

Cost: a few operations on [rows, T] masks a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.data.batch import Batch, RowSource, TextPart, TrainingData
from trainer.seeds import seed_of
from trainer.settings import TrainingSettings

PrefixEnd = Literal["random", "first_answer"]
"""Where prefixes end: pretraining's rule and finetuning's."""


def with_objective(
    data: TrainingData, settings: TrainingSettings, kind: Literal["pretrain", "finetune"], seed: int
) -> TrainingData:
    """The same rows as the settings want them seen; of both splits, so that validation measures what is trained."""
    prefixes: PrefixEnd | None = None
    if settings.objective == "prefix":
        prefixes = "first_answer" if kind == "finetune" else "random"
    train, validation = (
        ObjectiveRows(source, settings.document_attention, prefixes, seed_of(seed, "prefix", split))
        for split, source in (("train", data.train), ("validation", data.validation))
    )
    return replace(data, train=train, validation=validation)


@dataclass(frozen=True)
class ObjectiveRows:
    """A source whose batches say what the model may see of them."""

    source: RowSource
    keeps_documents_apart: bool
    """Whether segments are handed on."""
    prefixes: PrefixEnd | None
    """None: no row has a prefix."""
    seed: int
    """Of the random ends."""

    @property
    def rows(self) -> int:
        """Rows in the split."""
        return self.source.rows

    @property
    def text_bytes(self) -> int | None:
        """None with prefixes: they are text without a loss."""
        return self.source.text_bytes if self.prefixes is None else None

    @property
    def text_parts(self) -> tuple[TextPart, ...]:
        """Empty with prefixes, for the same reason."""
        return self.source.text_parts if self.prefixes is None else ()

    def text_parts_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """See `RowSource.text_parts_of`."""
        return self.source.text_parts_of(rows)

    def arranged(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """See `RowSource.arranged`."""
        return self.source.arranged(rows)

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """See `RowSource.batch`."""
        batch = self.source.batch(rows)
        if not self.keeps_documents_apart:
            batch = replace(batch, segments=None)
        if self.prefixes is None:
            return batch
        if self.prefixes == "first_answer":
            return with_prefix(batch, first_answers(batch))
        return with_prefix(batch, random_ends(batch, np.asarray(rows, np.int64), self.seed))


def with_prefix(batch: Batch, ends_B: npt.NDArray[np.int32]) -> Batch:
    """The batch with the first `ends_B` inputs of each row as prefix; targets within a prefix do not count."""
    # Input t says what input t + 1 is: the first that is not within the prefix is said by its last.
    predicts_BT = np.arange(batch.inputs.shape[1]) >= ends_B[:, None] - 1
    return replace(batch, prefix=ends_B, mask=predicts_BT if batch.mask is None else batch.mask & predicts_BT)


def first_answers(batch: Batch) -> npt.NDArray[np.int32]:
    """[B] inputs before the first target that counts; 0 where a row has none."""
    if batch.mask is None:
        return np.ones(len(batch.inputs), np.int32)
    ends_B: npt.NDArray[np.int32] = np.where(batch.mask.any(axis=1), batch.mask.argmax(axis=1) + 1, 0).astype(np.int32)
    return ends_B


def random_ends(batch: Batch, rows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int32]:
    """[B] uniform from 1 to the last target that counts, of each row by its number: one target is always left."""
    length = batch.inputs.shape[1]
    counted_B = np.full(len(rows), length, np.uint64)
    if batch.mask is not None:
        counted_B = np.where(batch.mask.any(axis=1), length - batch.mask[:, ::-1].argmax(axis=1), 1).astype(np.uint64)
    ends_B: npt.NDArray[np.int32] = (1 + _mixed(rows, seed) % counted_B).astype(np.int32)
    return ends_B


def _mixed(rows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each number: the finisher of SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
