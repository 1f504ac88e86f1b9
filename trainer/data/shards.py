"""The Arrow shards of a token dataset, memory-mapped: rows by number, many at a time.

Nothing is loaded but the pages that rows lie on, and processes of one machine share them. A shard is one record batch
as the pipeline writes it; several are read as well. Rows are gathered by a kernel in one pass, from whatever shards
they lie in: as fast as `numpy.memmap` from one flat file (bench.reader), with the documents of each row beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import UserError

COLUMN = "input_ids"
ENDS = "document_ends"
SOURCES = "document_sources"
KERNELS = ("mapped_rows", "permutation")
"""What reading rows in random order compiles."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lists:
    """A column of lists, one behind the other."""

    offsets: npt.NDArray[np.int32]
    """[rows + 1] where those of a row begin."""
    values: npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Block:
    """A record batch."""

    tokens: npt.NDArray[np.unsignedinteger[Any]]
    """[rows, context_length + 1]"""
    ends: Lists
    """uint32: target position at which each document of a row ends."""
    sources: Lists
    """uint16: source of each document, an index into the manifest's list."""


class MappedShard:
    """A shard that is open.

    Raises:
        UserError: the file is no Arrow stream, or has other columns or rows than the manifest says.
    """

    def __init__(self, path: Path, rows: int, context_length: int, dtype: str, manifest: str) -> None:
        self.path = path
        self.blocks = _map_blocks(path, context_length, dtype, manifest)
        found = sum(len(block.tokens) for block in self.blocks)
        if found != rows:
            raise UserError(f"{path} has {found} rows, {manifest} says {rows}: make the tokens again")


class OpenShards:
    """Shards that are open now, by number, and where their record batches are. Not changed once made.

    Whoever gathers rows holds this object, so no file is unmapped under the kernel's hands.
    """

    def __init__(self, shards: Mapping[int, MappedShard], starts: IntArray) -> None:
        self.shards = dict(sorted(shards.items()))
        firsts: list[int] = []
        self._blocks: list[Block] = []
        for number, shard in self.shards.items():
            first = int(starts[number])
            for block in shard.blocks:
                firsts.append(first)
                self._blocks.append(block)
                first += len(block.tokens)
        self._end, self._itemsize = int(starts[-1]), max((block.tokens.itemsize for block in self._blocks), default=2)
        self._firsts = np.array(firsts, np.int64)
        self._tokens_at = _addresses([block.tokens for block in self._blocks])
        self._offsets_at = _addresses([block.ends.offsets for block in self._blocks])
        self._ends_at = _addresses([block.ends.values for block in self._blocks])

    def gather(self, rows: IntArray, tokens: IntArray, segments: npt.NDArray[np.int32], used: IntArray) -> None:
        """Copy rows of these shards; arguments as `pipeline.kernels.mapped_rows.gather_rows`.

        Raises:
            IndexError: there is no such row.
        """
        from pipeline.kernels.mapped_rows import gather_rows  # loads numba

        addresses = (self._tokens_at, self._offsets_at, self._ends_at)
        wrong = gather_rows(rows, self._end, self._firsts, *addresses, self._itemsize, tokens, segments, used)
        if wrong >= 0:
            raise IndexError(f"row {rows[wrong]} of {self._end}")

    def find(self, row: int) -> tuple[Block, int]:
        """The record batch of a row of these shards, and its place there."""
        at = int(np.searchsorted(self._firsts, row, side="right")) - 1
        return self._blocks[at], row - int(self._firsts[at])


def _addresses(arrays: list[npt.NDArray[Any]]) -> IntArray:
    return np.array([array.ctypes.data for array in arrays], np.int64)


def _map_blocks(path: Path, context_length: int, dtype: str, manifest: str) -> list[Block]:
    row = context_length + 1
    expected = {
        COLUMN: pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), row),
        ENDS: pa.list_(pa.uint32()),
        SOURCES: pa.list_(pa.uint16()),
    }
    try:
        reader = pa.ipc.open_stream(pa.memory_map(str(path)))
        found = {name: reader.schema.field(name).type for name in expected if name in reader.schema.names}
        batches = reader.read_all().to_batches()
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{path} is damaged or is no Arrow stream ({error}): remove it and make the tokens again"
        ) from None
    for name, wanted in expected.items():
        if found.get(name) != wanted:
            raise UserError(
                f"{path}: column {name} is {found.get(name)}, {manifest} promises {wanted}: make the tokens again"
            )
    return [_block(batch, row) for batch in batches]


def _block(batch: pa.RecordBatch, row: int) -> Block:
    column = batch.column(COLUMN)
    values = _mapped(column.values)
    tokens = values[column.offset * row : (column.offset + len(column)) * row].reshape(-1, row)
    ends, sources = (
        Lists(_mapped(lists.offsets), _mapped(lists.values)) for lists in map(batch.column, (ENDS, SOURCES))
    )
    return Block(tokens, ends, sources)


def _mapped(column: pa.Array) -> npt.NDArray[Any]:
    """A column of numbers without nulls where it lies; Arrow's own `to_numpy` imports pandas, a fifth of a second."""
    dtype = np.dtype(column.type.to_pandas_dtype())
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} numbers are missing")
    if not len(column):
        return np.empty(0, dtype)
    return np.frombuffer(column.buffers()[1], dtype, len(column), column.offset * dtype.itemsize)
