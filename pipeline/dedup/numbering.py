"""Integer numbers for the documents of a corpus, and the way back from a number to the document.

A document's number is the count of documents before it: rows of earlier shards plus its row. Numbers order documents
as the corpus does, so "the first of a group" is the smallest number, whatever the order of tasks. They need 8 bytes
where ids need dozens.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property

import numpy as np
import pyarrow as pa

from pipeline.shard import StageDirectory, open_table

_OPEN_SHARDS = 8


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

    def column(self, name: str, numbers: np.ndarray) -> list[str]:
        """A text column's values of the documents, in the order of `numbers`; quick when those are ascending."""
        shards = self.shard_of(numbers)
        rows = numbers - self.starts[shards]
        # Row by row: `take` would first join all batches of the shard, which reads the whole of it.
        return [
            self._table(shard)[name][row].as_py() for shard, row in zip(shards.tolist(), rows.tolist(), strict=True)
        ]

    def _table(self, shard: int) -> pa.Table:
        if shard not in self._tables:
            if len(self._tables) == _OPEN_SHARDS:
                self._tables.popitem(last=False)
            self._tables[shard] = open_table(self.paths[shard])
        self._tables.move_to_end(shard)
        return self._tables[shard]
