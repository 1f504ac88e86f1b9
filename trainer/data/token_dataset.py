"""Reads the token dataset that the pipeline writes: memory-mapped, O(1) by row number.

Nothing is loaded but the pages a batch touches, and processes of one machine share them. Everything that could
make training silently wrong is checked at opening: format version, tokenizer, column type, rows of every shard
against its manifest, and each shard's SHA-256. The hash is read once: size and modification time of the shards
that passed are kept beside the run, and only files that differ from them are read again.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.errors import UserError
from trainer.data.batch import Batch, TrainingData

FORMAT_VERSION = 2
MANIFEST = "tokens.json"
COLUMN = "input_ids"
ENDS = "document_ends"


def open_token_dataset(directory: Path, tokenizer: Path, verified: Path | None = None) -> TrainingData:
    """Both splits of a token dataset, checked.

    `tokenizer` is the tokenizer.json that the run will keep beside its weights; `verified` a file that remembers
    which shards passed their checksum. Raises UserError naming the file that is missing, broken or does not match.
    """
    manifest = _read_manifest(directory)
    fingerprint = tokenizer_fingerprint(tokenizer)
    if manifest["tokenizer_fingerprint"] != fingerprint:
        raise UserError(
            f"{directory / MANIFEST}: the tokens were made with another tokenizer than {tokenizer} "
            f"(sha256 {manifest['tokenizer_fingerprint'][:12]} and {fingerprint[:12]}): make the tokens again"
        )
    splits = manifest["splits"]
    _verify_checksums(directory, [*splits["train"]["shards"], *splits["validation"]["shards"]], verified)
    train, validation = (
        TokenRows(directory, splits[name], manifest["context_length"], manifest["dtype"])
        for name in ("train", "validation")
    )
    return TrainingData(
        train=train,
        validation=validation,
        fingerprint=manifest["fingerprint"],
        tokenizer_fingerprint=fingerprint,
        context_length=manifest["context_length"],
        vocab_size=manifest["vocab_size"],
    )


class TokenRows:
    """One split: rows of context_length + 1 token ids; what stands behind a row's last document does not count."""

    def __init__(self, directory: Path, split: dict[str, Any], context_length: int, dtype: str) -> None:
        self.context_length = context_length
        self.text_bytes: int | None = split["text_bytes"]
        self._padded = split["padding_tokens"] > 0
        self._blocks: list[npt.NDArray[np.unsignedinteger[Any]]] = []
        used: list[npt.NDArray[np.int64]] = []
        for shard in split["shards"]:
            blocks, ends = _map_shard(directory / shard["file"], context_length, dtype)
            found = sum(map(len, blocks))
            if found != shard["rows"]:
                raise UserError(
                    f"{directory / shard['file']} has {found} rows, {MANIFEST} says {shard['rows']}: "
                    "make the tokens again"
                )
            self._blocks += blocks
            used += ends
        self._ends = np.cumsum([len(block) for block in self._blocks])
        self._used = np.concatenate(used) if used else np.empty(0, np.int64)
        if self.rows != split["rows"] or self.rows == 0:
            raise UserError(f"{directory / MANIFEST}: {self.rows} rows in the shards, {split['rows']} in the split")

    @cached_property
    def rows(self) -> int:
        """Rows of the split."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def arranged(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rows as they are: all are of one length."""
        return rows

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """The rows of these numbers; the targets are the inputs one token later, and all but padding count."""
        tokens = np.empty((len(rows), self.context_length + 1), dtype=np.int64)
        for place, row in enumerate(rows):
            if not 0 <= row < self.rows:
                raise IndexError(f"row {row} of {self.rows}")
            block = int(np.searchsorted(self._ends, row, side="right"))
            tokens[place] = self._blocks[block][int(row) - int(self._ends[block])]
        mask = None
        if self._padded:
            mask = np.arange(self.context_length) < self._used[np.asarray(rows, np.int64)][:, None]
        return Batch(inputs=tokens[:, :-1], targets=tokens[:, 1:], mask=mask)


def tokenizer_fingerprint(tokenizer: Path) -> str:
    """SHA-256 of a tokenizer.json; raises UserError when it is not there."""
    if not tokenizer.exists():
        raise UserError(f"{tokenizer} does not exist: run the tokenizer step")
    return storage.sha256_of(str(tokenizer))


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: the token dataset was not finished; run the tokens step") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): make the tokens again") from None
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, this version reads {FORMAT_VERSION}: make the tokens again"
        )
    return manifest


def _verify_checksums(directory: Path, shards: list[dict[str, Any]], verified: Path | None) -> None:
    known: dict[str, Any] = {}
    if verified is not None and verified.exists():
        known = json.loads(verified.read_text(encoding="utf-8"))
    passed: dict[str, Any] = {}
    for shard in shards:
        path = directory / shard["file"]
        if not path.exists():
            raise UserError(f"{path} does not exist, but {MANIFEST} lists it: make the tokens again")
        stamp = f"{storage.stamp_of(str(path))}-{shard['sha256']}"
        if known.get(str(path)) != stamp and storage.sha256_of(str(path)) != shard["sha256"]:
            raise UserError(
                f"{path} does not have the sha256 that {MANIFEST} gives: it is damaged, make the tokens again"
            )
        passed[str(path)] = stamp
    if verified is not None and passed != known:
        storage.write_json(str(verified), passed)


def _map_shard(
    path: Path, context_length: int, dtype: str
) -> tuple[list[npt.NDArray[np.unsignedinteger[Any]]], list[npt.NDArray[np.int64]]]:
    """Of each record batch: the rows as [rows, context_length + 1], sharing the file's pages, and their last ends."""
    row = context_length + 1
    try:
        reader = pa.ipc.open_stream(pa.memory_map(str(path)))
        batches = reader.read_all().to_batches()
        expected = pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), row)
        found = reader.schema.field(COLUMN).type if COLUMN in reader.schema.names else None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is no Arrow stream ({error}): make the tokens again") from None
    if found != expected:
        raise UserError(f"{path}: column {COLUMN} is {found}, {MANIFEST} promises {expected}: make the tokens again")
    blocks, ends = [], []
    for batch in batches:
        column = batch.column(COLUMN)
        values = column.values.to_numpy(zero_copy_only=True)
        blocks.append(values[column.offset * row : (column.offset + len(column)) * row].reshape(-1, row))
        lists = batch.column(ENDS)
        ends.append(lists.values.to_numpy()[lists.offsets.to_numpy()[1:] - 1].astype(np.int64))
    return blocks, ends
