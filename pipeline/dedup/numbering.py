"""Integer numbers for the documents of a corpus, and the way back from a number to the document.

A document's number is the count of documents before it: rows of earlier shards plus its row. Numbers order documents
as the corpus does, so "the first of a group" is the smallest number, whatever the order of tasks. They need 8 bytes
where ids need dozens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from pipeline.arrays import arrow_array, numpy_array
from pipeline.shard import StageDirectory, open_table

_OPEN_SHARDS = 2


class NumberedCorpus:
    """A finished corpus whose documents are found by number; keeps a few shards open (mapped, not loaded)."""

    def __init__(self, url: str) -> None:
        self._directory = StageDirectory(url)
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()

    @cached_property
    def paths(self) -> list[str]:
        """The shards' files, in order."""
        return [self._directory.path(shard) for shard in self._directory.shards]

    @cached_property
    def starts(self) -> np.ndarray:
        """Number of each shard's first document, and at the end the number of all documents: int64[shards + 1]."""
        return np.cumsum([0, *(shard.rows for shard in self._directory.shards)], dtype=np.int64)

    @property
    def documents(self) -> int:
        """Documents in the corpus."""
        return int(self.starts[-1])

    @property
    def shards(self) -> int:
        """Shards in the corpus."""
        return len(self.starts) - 1

    def shard_of(self, numbers: np.ndarray) -> np.ndarray:
        """Index of the shard of each document."""
        return np.searchsorted(self.starts, numbers, side="right") - 1

    def column(self, name: str, numbers: np.ndarray) -> list[Any]:
        """A column's values of the documents, in the order of `numbers`; quick when those are ascending."""
        values: list[Any] = self.take(name, numbers).to_pylist()
        return values

    def take(self, name: str, numbers: np.ndarray) -> pa.Array:
        """As `column`, as an Arrow array; reads nothing of other documents but offsets.

        Raises:
            KeyError: the corpus has no such column.
        """
        return self._of_rows(name, numbers, lambda values: values)

    def text_bytes(self, numbers: np.ndarray) -> np.ndarray:
        """int64[numbers]: length of the documents' texts in UTF-8, without reading them."""
        if not len(numbers):
            return np.empty(0, np.int64)
        return numpy_array(self._of_rows("text", numbers, compute.binary_length)).astype(np.int64)

    def _of_rows(self, name: str, numbers: np.ndarray, function: Callable[[pa.Array], pa.Array]) -> pa.Array:
        order = np.argsort(numbers, kind="stable")
        ascending = numbers[order]
        found = []
        bounds = np.searchsorted(ascending, self.starts)
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            rows = ascending[bounds[shard] : bounds[shard + 1]] - self.starts[shard]
            chunks = self._table(shard)[name].chunks
            ends = np.cumsum([0, *map(len, chunks)])
            # Chunk by chunk: `take` of a column would first join all its chunks, which reads the whole shard.
            inside = np.searchsorted(rows, ends)
            for chunk in np.flatnonzero(np.diff(inside)).tolist():
                wanted = rows[inside[chunk] : inside[chunk + 1]] - ends[chunk]
                found.append(function(chunks[chunk]).take(arrow_array(wanted)))
        if not found:
            return pa.nulls(0, pa.string())
        values = pa.concat_arrays(found)
        return values if np.array_equal(ascending, numbers) else values.take(arrow_array(np.argsort(order)))

    def _table(self, shard: int) -> pa.Table:
        if shard not in self._tables:
            if len(self._tables) == _OPEN_SHARDS:
                self._tables.popitem(last=False)
            self._tables[shard] = open_table(self.paths[shard])
        self._tables.move_to_end(shard)
        return self._tables[shard]
