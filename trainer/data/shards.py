"""One Arrow shard of a token dataset, memory-mapped: rows by number, many at a time.

Nothing is loaded but the pages that rows lie on, and processes of one machine share them. A shard is one record batch
as the pipeline writes it; several are read as well. Cost: one take for the tokens and one for the document ends of all
wanted rows of a record batch, no Python a row.
"""

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

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lists:
    """Lists of rows, one behind the other."""

    values: npt.NDArray[np.unsignedinteger[Any]]
    """Of all rows."""
    counts: IntArray
    """int64[rows]: values of each."""


@dataclass(frozen=True)
class _Block:
    """A record batch."""

    tokens: npt.NDArray[np.unsignedinteger[Any]]
    """[rows, context_length + 1]"""
    columns: dict[str, tuple[npt.NDArray[np.int32], npt.NDArray[np.unsignedinteger[Any]]]]
    """Of each column of lists: where those of a row begin, [rows + 1], and the values."""

    def lists(self, name: str, rows: IntArray) -> Lists:
        offsets, values = self.columns[name]
        starts = offsets[rows].astype(np.int64)
        counts = offsets[rows + 1] - starts
        total = np.cumsum(counts)
        places = np.arange(total[-1] if len(total) else 0) + np.repeat(starts - (total - counts), counts)
        return Lists(values[places], counts)


class MappedShard:
    """A shard that is open.

    Raises:
        UserError: the file is no Arrow stream, or has other columns or rows than the manifest says.
    """

    def __init__(self, path: Path, rows: int, context_length: int, dtype: str, manifest: str) -> None:
        self.path = path
        self.blocks = _map_blocks(path, context_length, dtype, manifest)
        self._starts = np.cumsum([0, *(len(block.tokens) for block in self.blocks)])
        if self._starts[-1] != rows:
            raise UserError(f"{path} has {self._starts[-1]} rows, {manifest} says {rows}: make the tokens again")

    def gather(self, rows: IntArray, places: IntArray, into: IntArray) -> None:
        """Copy tokens of these rows, in ascending order, to these rows of an array [B, context_length + 1]."""
        for block, local, part in self._parts(rows):
            into[places[part]] = block.tokens[local]

    def lists(self, name: str, rows: IntArray) -> Lists:
        """`document_ends` or `document_sources` of these rows, in ascending order."""
        found = [block.lists(name, local) for block, local, _ in self._parts(rows)]
        return Lists(np.concatenate([part.values for part in found]), np.concatenate([part.counts for part in found]))

    def _parts(self, rows: IntArray) -> list[tuple[_Block, IntArray, slice]]:
        """Each record batch that is asked of: rows within it, and which of the rows asked for these are."""
        if len(self.blocks) == 1:
            return [(self.blocks[0], rows, slice(0, len(rows)))]
        bounds = np.searchsorted(rows, self._starts).tolist()
        return [
            (block, rows[bounds[place] : bounds[place + 1]] - self._starts[place], slice(*bounds[place : place + 2]))
            for place, block in enumerate(self.blocks)
            if bounds[place] < bounds[place + 1]
        ]


def _map_blocks(path: Path, context_length: int, dtype: str, manifest: str) -> list[_Block]:
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
        raise UserError(f"{path} is damaged or is no Arrow stream ({error}): make the tokens again") from None
    for name, wanted in expected.items():
        if found.get(name) != wanted:
            raise UserError(
                f"{path}: column {name} is {found.get(name)}, {manifest} promises {wanted}: make the tokens again"
            )
    return [_block(batch, row) for batch in batches]


def _block(batch: pa.RecordBatch, row: int) -> _Block:
    column = batch.column(COLUMN)
    values = column.values.to_numpy(zero_copy_only=True)
    lists = {name: batch.column(name) for name in (ENDS, SOURCES)}
    return _Block(
        values[column.offset * row : (column.offset + len(column)) * row].reshape(-1, row),
        {name: (found.offsets.to_numpy(), found.values.to_numpy()) for name, found in lists.items()},
    )
