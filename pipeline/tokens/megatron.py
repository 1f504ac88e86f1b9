"""Megatron-LM's indexed dataset: `<prefix>.bin` holds token ids, `<prefix>.idx` says where sequences and documents end.

The index (MMIDIDX, version 1; NVIDIA/Megatron-LM, megatron/core/datasets/indexed_dataset.py), little-endian:

    9 bytes    MMIDIDX and two zero bytes
    uint64     version, 1
    uint8      type of the ids, see `TYPES`
    uint64     number of sequences
    uint64     number of document ends, the leading 0 among them
    int32[]    tokens of each sequence
    int64[]    byte in the .bin at which each sequence begins
    int64[]    number of sequences up to the end of each document; the first is 0
    int8[]     (multimodal datasets only) mode of each sequence

Everything that could make tokens wrong is checked before one is read: sizes, order and bounds of all arrays.
"""

from __future__ import annotations

import struct
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

import numpy as np

from pipeline import storage
from pipeline.errors import UserError

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
TYPES = {1: "u1", 2: "i1", 3: "i2", 4: "i4", 5: "i8", 6: "f8", 7: "f4", 8: "u2"}
"""Code of each numpy type."""
UINT16_BELOW = 65_500
"""Vocabularies smaller than this are written as uint16, others as int32: Megatron's own rule."""
_HEADER = struct.Struct("<9sQBQQ")


@dataclass(frozen=True)
class Indexed:
    """An opened dataset; all arrays stay in the files, mapped."""

    tokens: np.ndarray
    """All ids."""
    pointers: np.ndarray
    """int64[sequences]: byte at which each sequence begins."""
    ends: np.ndarray
    """int64[documents + 1]: sequences up to the end of each document, beginning with 0."""

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.ends) - 1

    def starts(self, first: int, last: int) -> np.ndarray:
        """int64: where documents `first` to before `last` begin, and where the last one ends; empty ones left out."""
        sequences = self.ends[first : last + 1]
        inside = sequences < len(self.pointers)
        positions = np.full(len(sequences), len(self.tokens), np.int64)
        positions[inside] = self.pointers[sequences[inside]] // self.tokens.itemsize
        return np.unique(positions)


def open_indexed(prefix: str, check: bool = True) -> Indexed:
    """Open `<prefix>.bin` and `<prefix>.idx` on the local disk.

    `check` goes through the whole index; without it only sizes are looked at (a task reads but a part).

    Raises:
        UserError: a file is missing, truncated, of another version, or contradicts itself; names it.
    """
    index, data = f"{prefix}.idx", f"{prefix}.bin"
    for url in (index, data):
        if not storage.is_local(url):
            raise UserError(f"{url} is not on this machine: copy it to the local disk, it is read by memory mapping")
        if not storage.exists(url):
            raise UserError(f"{url} does not exist: a Megatron dataset is {prefix}.bin and {prefix}.idx")
    content = _mapped(index, np.dtype(np.uint8))
    if len(content) < _HEADER.size or content[: len(MAGIC)].tobytes() != MAGIC:
        raise UserError(f"{index} is no Megatron index: it does not begin with MMIDIDX")
    _, version, code, sequences, documents = _HEADER.unpack(content[: _HEADER.size].tobytes())
    if version != VERSION:
        raise UserError(f"{index} has version {version}, this gptmill reads {VERSION}")
    if code not in TYPES or TYPES[code][0] == "f":
        raise UserError(f"{index}: type code {code} is none of whole numbers, so the .bin holds no token ids")
    arrays = 12 * sequences + 8 * documents
    if len(content) not in (_HEADER.size + arrays, _HEADER.size + arrays + sequences):
        raise UserError(
            f"{index} has {len(content)} bytes, {sequences} sequences and {documents} document ends take "
            f"{_HEADER.size + arrays}: it is truncated or damaged"
        )
    lengths = np.frombuffer(content, "<i4", sequences, _HEADER.size)
    pointers = np.frombuffer(content, "<i8", sequences, _HEADER.size + 4 * sequences)
    ends = np.frombuffer(content, "<i8", documents, _HEADER.size + 12 * sequences)
    dtype = np.dtype(f"<{TYPES[code]}")
    if check:
        _require_sound(index, lengths, pointers, ends, dtype.itemsize)
    wanted = int(pointers[-1]) + int(lengths[-1]) * dtype.itemsize if sequences else 0
    found = storage.size_of(data)
    if found != wanted:
        raise UserError(f"{data} has {found} bytes, {index} describes {wanted}: it is truncated or not its file")
    return Indexed(_mapped(data, dtype), pointers, ends)


def _mapped(url: str, dtype: np.dtype[Any]) -> np.ndarray:
    if not storage.size_of(url):
        return np.empty(0, dtype)
    return np.asarray(np.memmap(storage.local_path(url), dtype, "r"))


def _require_sound(index: str, lengths: np.ndarray, pointers: np.ndarray, ends: np.ndarray, itemsize: int) -> None:
    """Raises UserError where the arrays of an index contradict each other."""
    if len(lengths) and lengths.min() < 0:
        raise UserError(f"{index}: sequence {int(np.argmin(lengths))} has {lengths.min()} tokens: it is damaged")
    expected = (np.cumsum(lengths, dtype=np.int64) - lengths) * itemsize
    if not np.array_equal(pointers, expected):
        place = int(np.flatnonzero(pointers != expected)[0])
        raise UserError(
            f"{index}: sequence {place} begins at byte {pointers[place]}, those before it end at {expected[place]}: it "
            "is damaged"
        )
    if not len(ends) or ends[0] != 0 or ends[-1] != len(lengths) or (np.diff(ends) < 0).any():
        raise UserError(f"{index}: its document ends do not rise from 0 to the {len(lengths)} sequences: it is damaged")


class IndexedWriter:
    """Writes a dataset as Megatron's IndexedDatasetBuilder does, byte for byte: one sequence a document.

    Both files appear when the block ends without an error, the index last.
    """

    def __init__(self, prefix: str, vocab_size: int) -> None:
        self._prefix = prefix
        self._dtype = np.dtype("<u2" if vocab_size < UINT16_BELOW else "<i4")
        self._files = ExitStack()
        self._data: IO[bytes] | None = None
        self._lengths: list[np.ndarray] = []

    def __enter__(self) -> IndexedWriter:
        self._data = self._files.enter_context(storage.write_atomically(f"{self._prefix}.bin"))
        return self

    def add(self, tokens: np.ndarray, lengths: np.ndarray, *, continues: bool = False) -> None:
        """Append documents, one behind the other: uint [tokens] and int64 [documents], the tokens of each.

        `continues`: the first of them is the rest of the last one of the call before.
        """
        assert self._data is not None
        if continues:
            self._lengths[-1][-1] += lengths[0]
            lengths = lengths[1:]
        self._data.write(np.ascontiguousarray(tokens, self._dtype).data)
        if len(lengths):
            self._lengths.append(lengths.copy())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)
        if error is None:
            with storage.write_atomically(f"{self._prefix}.idx") as file:
                file.write(self._index())

    @property
    def documents(self) -> int:
        """Documents written so far."""
        return sum(map(len, self._lengths))

    def _index(self) -> bytes:
        lengths = np.concatenate([np.empty(0, np.int64), *self._lengths]).astype(np.int64)
        code = next(code for code, name in TYPES.items() if self._dtype == np.dtype(f"<{name}"))
        pointers = (np.cumsum(lengths) - lengths) * self._dtype.itemsize
        arrays: list[tuple[np.ndarray, Any]] = [
            (lengths, "<i4"),
            (pointers, "<i8"),
            (np.arange(len(lengths) + 1), "<i8"),
        ]
        header = _HEADER.pack(MAGIC, VERSION, code, len(lengths), len(lengths) + 1)
        return header + b"".join(values.astype(kind).tobytes() for values, kind in arrays)
