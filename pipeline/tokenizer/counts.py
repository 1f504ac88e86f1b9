"""Tables of counted pieces: how they grow while texts are counted, how they lie in files, what merges are learned from.

A table in the making holds each piece once for each group (a source, a language) of documents. A file of counts has the
columns piece, group and count, cut into partitions by the hash of the piece, so that equal pieces of all files meet in
one place. `Counts` is the end of it: the groups added up.

Cost: see `pipeline.kernels.piece_counts`; memory is that of the different pieces, within limits given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.kernels import piece_counts
from pipeline.kernels.column import TextColumn

KERNELS = ("piece_counts",)
"""Kernel modules that the functions of this file call."""

ONE = 1 << 16
"""A weight of one: weights are integers in these units, so that sums do not depend on an order."""

_FIRST_ENTRIES = 1 << 15
_FIRST_BYTES = 1 << 19
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class Counts:
    """Distinct pieces and how often each occurs: what merges are learned from."""

    data: np.ndarray
    """uint8 [bytes], read-only: the pieces one behind the other."""
    offsets: np.ndarray
    """int64 [pieces + 1], read-only: piece p is `data[offsets[p]:offsets[p + 1]]`."""
    counts: np.ndarray
    """int64 [pieces], read-only; above zero."""

    def __len__(self) -> int:
        return len(self.counts)

    @staticmethod
    def from_tables(tables: Sequence[pa.Table]) -> Counts:
        """The rows of tables with the columns piece and count, in their order."""
        columns = [piece_column(chunk) for table in tables for chunk in table["piece"].chunks]
        parts = [column.data[column.offsets[0] : column.offsets[-1]] for column in columns]
        lengths = [np.diff(column.offsets) for column in columns]
        counts = [table["count"].to_numpy() for table in tables]
        return Counts(
            frozen(np.concatenate([np.empty(0, np.uint8), *parts])),
            frozen(np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))),
            frozen(np.concatenate([np.empty(0, np.int64), *counts])),
        )


class PieceTable:
    """Counts pieces by group, growing as they come; past a limit it is to be emptied into a file.

    Args:
        longest: Bytes of the longest piece that is counted; longer ones are left out, and told.
        most_entries, most_bytes: Limits: entries take 48 bytes of memory each. At least one piece always fits.
    """

    def __init__(self, longest: int = _NO_LIMIT, most_entries: int = _NO_LIMIT, most_bytes: int = _NO_LIMIT) -> None:
        self._longest = longest
        self._most_entries, self._most_bytes = most_entries, max(most_bytes, longest)
        self._state = np.zeros(6, np.int64)
        self.clear()

    @property
    def long_pieces(self) -> int:
        """Pieces that were left out because of their length."""
        return int(self._state[piece_counts.LONG_PIECES])

    @property
    def long_piece_bytes(self) -> int:
        """Bytes of these pieces."""
        return int(self._state[piece_counts.LONG_BYTES])

    def __len__(self) -> int:
        return int(self._state[piece_counts.ENTRIES])

    def clear(self) -> None:
        """Forget all counts, but not where the texts of an unfinished `add_texts` are to be continued."""
        self._slots = np.zeros(2 * _FIRST_ENTRIES, np.uint64)
        self._entries = np.empty((min(_FIRST_ENTRIES, self._most_entries), 4), np.int64)
        self._content = np.empty(min(_FIRST_BYTES, self._most_bytes), np.uint8)
        self._state[: piece_counts.DOCUMENT] = 0

    def add_texts(self, texts: TextColumn, groups: np.ndarray, classes: np.ndarray, kind: int) -> bool:
        """Count the pieces of texts.

        Args:
            texts: The documents.
            groups: int32 [documents]: the group of each.
            classes, kind: The pre-tokenization, see `pipeline.tokenizer.pieces.kernel_arguments`.

        Returns:
            False when a limit was reached: then write the counts, `clear()`, and call again with the same texts.
        """
        return self._add(texts, groups, np.empty(0, np.int64), classes, kind)

    def add_counts(self, pieces: TextColumn, groups: np.ndarray, counts: np.ndarray) -> None:
        """Add pieces (each once for each of its groups, int32 [pieces]) with their counts, int64 [pieces]."""
        if len(pieces) and not self._add(pieces, groups, counts, np.zeros(1, np.uint8), 0):
            raise ValueError("a table with limits takes texts only")

    def _add(self, column: TextColumn, groups: np.ndarray, counts: np.ndarray, classes: np.ndarray, kind: int) -> bool:
        arguments = (column.data, column.offsets, frozen(groups), frozen(counts), frozen(classes), kind, self._longest)
        while not piece_counts.add(*arguments, self._slots, self._entries, self._content, self._state):
            if not self._grow():
                return False
        return True

    def _grow(self) -> bool:
        """Twice the room for what is full (bytes, unless all entries are in use); whether a limit allows it."""
        if len(self) < len(self._entries):
            if len(self._content) >= self._most_bytes:
                return False
            self._content = _longer(self._content, min(2 * len(self._content), self._most_bytes))
            return True
        if len(self._entries) >= self._most_entries:
            return False
        self._entries = _longer(self._entries, min(2 * len(self._entries), self._most_entries))
        if len(self._slots) < 2 * len(self._entries):
            larger = np.zeros(2 * len(self._slots), np.uint64)
            piece_counts.move(self._slots, larger)
            self._slots = larger
        return True

    def partitions(self, number: int) -> np.ndarray:
        """int32 [entries]: the partition of each entry, the same for equal pieces in all tables."""
        partition = np.full(max(1, len(self)), number, np.int32)
        piece_counts.partition_of(self._content, self._entries[: len(self)], partition)
        return partition[: len(self)]

    def table(self, groups: Sequence[str]) -> pa.Table:
        """Columns piece (large_binary), group (by its name) and count, in the order in which pieces came first."""
        entries = self._entries[: len(self)]
        numbers = pa.array(entries[:, piece_counts.GROUP].astype(np.int32))
        return pa.table(
            {
                "piece": self._pieces(),
                "group": pa.DictionaryArray.from_arrays(numbers, pa.array(groups, pa.string())),
                "count": pa.array(np.ascontiguousarray(entries[:, piece_counts.COUNT])),
            }
        )

    def added_up(self, weights: np.ndarray) -> pa.Table:
        """Columns piece and count, by piece: the groups added up, each count times the weight of its group.

        `weights` int64 [groups] in units of `ONE`; products are rounded to the nearest, halves up.
        """
        entries = self._entries[: len(self)]
        count, weight = entries[:, piece_counts.COUNT], weights[entries[:, piece_counts.GROUP]]
        # In two parts, so that only a result beyond 63 bits would overflow.
        scaled = (count // ONE) * weight + ((count % ONE) * weight + ONE // 2) // ONE
        total = PieceTable()
        total.add_counts(piece_column(self._pieces()), np.zeros(len(self), np.int32), scaled)
        table = total.table([""]).drop_columns("group")
        return table.take(pc.sort_indices(table["piece"])).combine_chunks()

    def _pieces(self) -> pa.LargeBinaryArray:
        used = int(self._state[piece_counts.BYTES])
        offsets = np.append(self._entries[: len(self), piece_counts.START], used)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self._content[:used])]
        return pa.Array.from_buffers(pa.large_binary(), len(self), buffers)


def piece_column(pieces: pa.LargeBinaryArray) -> TextColumn:
    """The arrays of a column of pieces, without a copy."""
    _, offsets, data = pieces.buffers()
    if len(pieces) == 0 or data is None:
        return TextColumn(frozen(np.empty(0, np.uint8)), frozen(np.zeros(len(pieces) + 1, np.int64)))
    bounds = np.frombuffer(offsets, np.int64)[pieces.offset : pieces.offset + len(pieces) + 1]
    return TextColumn(np.frombuffer(data, np.uint8), bounds)


def frozen(array: np.ndarray) -> np.ndarray:
    """The array as kernels take it: read-only, in one piece."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _longer(array: np.ndarray, length: int) -> np.ndarray:
    """A copy with room behind it."""
    longer = np.empty((length, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
