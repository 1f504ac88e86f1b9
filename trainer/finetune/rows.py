"""Reads the encoded conversations as the rows that the training loop asks for.

A batch is padded on the right to its longest row, rounded up to a multiple of 8. Attention looks back only and the
mask is false on padding, so padding changes neither the loss nor any gradient; rows of one batch never see each
other. Memory: all rows as flat arrays, memory-mapped.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import open_table
from trainer.data.batch import Batch, TextPart, TrainingData
from trainer.finetune.dataset import MANIFEST, read_manifest
from trainer.finetune.template import END_OF_TEXT, PADDING, load_tokenizer, special_id

_PAD_MULTIPLE = 8


def open_conversations(directory: Path, tokenizer: Path) -> TrainingData:
    """Both splits of the encoded conversations, checked against the manifest and the tokenizer.

    Raises:
        UserError: names the file that is missing, damaged or of another tokenizer, or a row with nothing to learn.
    """
    manifest = read_manifest(directory)
    loaded = load_tokenizer(tokenizer)
    fingerprint = storage.sha256_of(str(tokenizer))
    if manifest["tokenizer_fingerprint"] != fingerprint:
        raise UserError(
            f"{directory / MANIFEST}: the rows were made with another tokenizer than {tokenizer}: make them again"
        )
    padding = loaded.token_to_id(PADDING)
    pad_id = special_id(loaded, END_OF_TEXT) if padding is None else padding
    longest = int(manifest["context_length"])
    splits = manifest["splits"]
    return TrainingData(
        train=ConversationRows(directory, splits["train"], longest, pad_id),
        validation=ConversationRows(directory, splits["validation"], longest, pad_id),
        fingerprint=manifest["fingerprint"],
        tokenizer_fingerprint=fingerprint,
        context_length=longest,
        vocab_size=manifest["vocab_size"],
    )


class ConversationRows:
    """One split: rows of different length with a loss mask."""

    text_bytes: int | None = None
    """Bits per byte has no meaning for answers to given questions."""
    text_parts: tuple[TextPart, ...] = ()
    """Conversations have one source."""

    def __init__(self, directory: Path, split: dict[str, Any], context_length: int, pad_id: int) -> None:
        self._context_length, self._pad_id = context_length, pad_id
        (shard,) = split["shards"]
        path = directory / shard["file"]
        if not path.exists() or storage.sha256_of(str(path)) != shard["sha256"]:
            raise UserError(f"{path} is missing or damaged: run the finetune step again")
        table = open_table(str(path)).combine_chunks()
        tokens, mask = (table.column(name).combine_chunks() for name in ("input_ids", "loss_mask"))
        self._tokens = tokens.values.to_numpy(zero_copy_only=True)
        self._mask = mask.values.to_numpy(zero_copy_only=False)
        self._starts = tokens.offsets.to_numpy().astype(np.int64)
        self.rows = len(self._starts) - 1
        if self.rows:
            # The first token is never a target, so it does not count.
            counted = np.add.reduceat(self._mask.astype(np.int64), self._starts[:-1]) - self._mask[self._starts[:-1]]
            if (empty := np.flatnonzero(counted == 0)).size:
                raise UserError(f"{path}: row {int(empty[0])} has no trained token: run the finetune step again")

    def arranged(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rows by length, the shortest first."""
        lengths = self._starts[rows + 1] - self._starts[rows]
        return rows[np.argsort(lengths, kind="stable")]

    def text_parts_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """See `RowSource.text_parts_of`."""
        return np.zeros(self.batch(rows.tolist()).targets.shape, np.int64)

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """The rows of these numbers in this order, [len(rows), T] with T the longest among them, padded."""
        for row in rows:
            if not 0 <= row < self.rows:
                raise IndexError(f"row {row} of {self.rows}")
        lengths = [int(self._starts[row + 1] - self._starts[row]) - 1 for row in rows]
        width = -(-max(lengths, default=1) // _PAD_MULTIPLE) * _PAD_MULTIPLE
        shape = (len(lengths), min(width, self._context_length))
        inputs = np.full(shape, self._pad_id, dtype=np.int64)
        targets = np.full(shape, self._pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=bool)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            start = int(self._starts[row])
            inputs[place, :length] = self._tokens[start : start + length]
            targets[place, :length] = self._tokens[start + 1 : start + 1 + length]
            mask[place, :length] = self._mask[start + 1 : start + 1 + length]
        return Batch(inputs, targets, mask)
