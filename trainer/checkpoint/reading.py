"""Reading tensors of a checkpoint, whole or in part, cut as the reader likes.

Only the bytes of pieces that overlap what is asked for are read, straight to where they belong where both lie in one
run, else in blocks; so memory is a block, whatever the size of a tensor. Needs numpy, no torch.
"""

import hashlib
import math
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import as_strided

from pipeline.errors import UserError
from trainer.checkpoint.index import Index, Key, Place, StoredTensor, read_index
from trainer.checkpoint.slices import Overlap, Slicing, alike, overlap, rectangles, whole
from trainer.checkpoint.state_file import VALUE_BYTES

BLOCK_VALUES = 2 << 20
"""Values that are read at once where they must be put in another order: 8 MiB."""
_OWN_READ = 1 << 14
"""Parts of rows with so many values are read by themselves; shorter ones with all that lies between."""
_OPEN_FILES = 128

Values = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class TensorFigures:
    """What can be said of a tensor in a line."""

    sha256: str
    """Of the full tensor's values, little-endian fp32, whatever the layout of the checkpoint."""
    norm: float
    """Square root of the sum of squares."""
    smallest: float
    largest: float
    not_finite: int
    """Values that are infinite or no number."""


class StateReader:
    """The tensors of one checkpoint; use it in a `with` block."""

    def __init__(self, checkpoint: Path, index: Index | None = None) -> None:
        """Raises ValueError when the index is damaged."""
        self.checkpoint = checkpoint
        self.index = read_index(checkpoint) if index is None else index
        self._files: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def read(self, key: Key, slicing: Slicing, rank: int, start: int, into: Values) -> None:
        """Fill `into` with the values of a flattened slice from `start` on; padding becomes zeros.

        Raises:
            UserError: the checkpoint has no such tensor, or has it in another shape.
        """
        tensor = self._tensor(key, slicing)
        try:
            slicing, their_slicing = alike(slicing, tensor.slicing)
        except ValueError as fault:
            raise UserError(f"{self.checkpoint}: {key[1]} of {key[0]} is {fault}") from None
        stop = start + into.size
        wanted = list(rectangles(slicing, rank, start, stop))
        missing = sum((one.bottom - one.top) * (one.right - one.left) for one in wanted)
        if missing < into.size:
            into.fill(0.0)
        for place in _candidates(tensor.places, their_slicing == slicing, rank, start, stop):
            for theirs in rectangles(their_slicing, place.tensor_rank, place.start, place.stop):
                for ours in wanted:
                    shared = overlap(ours, theirs)
                    if shared is not None:
                        self._copy(place, shared, start, into)
                        missing -= shared.rows * shared.columns
        if missing:
            raise UserError(f"{self.checkpoint}: {missing} values of {key[0]} ({key[1]}) are missing")

    def full_blocks(self, key: Key) -> Iterator[Values]:
        """The full tensor, flattened, in blocks; each is overwritten by the next."""
        slicing = whole(self.index.tensors[key].slicing.shape)
        buffer = np.empty(min(BLOCK_VALUES, slicing.count), np.float32)
        for start in range(0, slicing.count, BLOCK_VALUES):
            block = buffer[: min(BLOCK_VALUES, slicing.count - start)]
            self.read(key, slicing, 0, start, block)
            yield block

    def full(self, key: Key) -> Values:
        """A full tensor in its shape."""
        slicing = whole(self.index.tensors[key].slicing.shape)
        values = np.empty(slicing.count, np.float32)
        self.read(key, slicing, 0, 0, values)
        return values.reshape(slicing.shape)

    def sha256(self, key: Key) -> str:
        """SHA-256 of a full tensor: the same for every layout that holds the same values."""
        digest = hashlib.sha256()
        for block in self.full_blocks(key):
            digest.update(block.data.cast("B"))
        return digest.hexdigest()

    def figures(self, key: Key) -> TensorFigures:
        """Hash, norm and range of a full tensor."""
        digest, squares, smallest, largest, wrong = hashlib.sha256(), 0.0, math.inf, -math.inf, 0
        for block in self.full_blocks(key):
            digest.update(block.data.cast("B"))
            squares += float(np.square(block, dtype=np.float64).sum())
            smallest, largest = min(smallest, float(block.min())), max(largest, float(block.max()))
            wrong += block.size - int(np.isfinite(block).sum())
        return TensorFigures(digest.hexdigest(), math.sqrt(squares), smallest, largest, wrong)

    def _tensor(self, key: Key, slicing: Slicing) -> StoredTensor:
        tensor = self.index.tensors.get(key)
        if tensor is None:
            kinds = ", ".join(kind for name, kind in self.index.tensors if name == key[0]) or "nothing"
            raise UserError(
                f"{self.checkpoint} has no {key[1]} of {key[0]}, only {kinds}: it was written with another optimizer "
                "or model"
            )
        if tensor.slicing.shape != slicing.shape:
            raise UserError(
                f"{self.checkpoint}: {key[1]} of {key[0]} has the shape {tensor.slicing.shape}, the run needs "
                f"{slicing.shape}"
            )
        return tensor

    def _copy(self, place: Place, shared: Overlap, start: int, into: Values) -> None:
        first = shared.ours - start
        theirs = shared.theirs - place.start
        in_one_run = shared.rows == 1 or shared.columns == shared.our_stride == shared.their_stride
        if in_one_run:
            self._read(place, theirs, into[first : first + shared.rows * shared.columns])
            return
        target = as_strided(into[first:], (shared.rows, shared.columns), (shared.our_stride * VALUE_BYTES, VALUE_BYTES))
        stride = shared.their_stride
        if shared.columns >= _OWN_READ:
            for row in range(shared.rows):
                self._read(place, theirs + row * stride, target[row])
            return
        step = max(1, BLOCK_VALUES // stride)
        buffer = np.empty(min(step, shared.rows) * stride, np.float32)
        for row in range(0, shared.rows, step):
            rows = min(step, shared.rows - row)
            block = buffer[: (rows - 1) * stride + shared.columns]
            self._read(place, theirs + row * stride, block)
            target[row : row + rows] = as_strided(block, (rows, shared.columns), (stride * VALUE_BYTES, VALUE_BYTES))

    def _read(self, place: Place, start: int, into: Values) -> None:
        """Fill contiguous memory with the values of a piece from `start` on."""
        descriptor = self._open(place.file)
        left = into.data.cast("B")
        at = place.offset + start * VALUE_BYTES
        while left.nbytes:
            got = os.preadv(descriptor, [left], at)
            if got == 0:
                raise UserError(f"{self.checkpoint / place.file} ends before byte {at + left.nbytes}: it is damaged")
            left, at = left[got:], at + got

    def _open(self, file: str) -> int:
        descriptor = self._files.get(file)
        if descriptor is None:
            if len(self._files) >= _OPEN_FILES:
                os.close(self._files.pop(next(iter(self._files))))
            descriptor = self._files[file] = os.open(self.checkpoint / file, os.O_RDONLY)
        return descriptor


def _candidates(places: Sequence[Place], cut_alike: bool, rank: int, start: int, stop: int) -> Iterator[Place]:
    """The pieces that may hold values of a range: where both are cut alike only the overlapping ones of that slice."""
    if not cut_alike:
        yield from places
        return
    # The last piece that begins at or before `start`; a place's order is (slice, start, ...).
    at = bisect_right(places, (rank, start), key=lambda place: (place.tensor_rank, place.start)) - 1
    for place in places[max(0, at) :]:
        if (place.tensor_rank, place.start) >= (rank, stop):
            return
        yield place
