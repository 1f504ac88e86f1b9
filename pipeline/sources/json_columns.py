"""Blocks of JSON lines as Arrow columns, without a Python object a document: the quick way of `jsonl`.

It takes what nearly all lines of a corpus are: one object a line whose only fields are text, id, URL and language, as
texts. A block with anything else in it (other fields, a number, an empty or broken line) is refused whole and read line
by line, so that there is one place that says what becomes of such a line, and both ways give the same documents.

Decisions: a kernel finds the fields (`pipeline.kernels.json_lines`); pyarrow's reader takes three times as long, and
would take two objects on a line, or one on two lines. Arrow validates the UTF-8.

Cost: 750 MB of JSON a CPU-second, UTF-8 of several languages; half of it is that Arrow looks at the UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import accumulate

import numpy as np
import pyarrow as pa
from pyarrow import compute

from pipeline.arrays import numpy_array, repeated_text, text_array
from pipeline.shard import DOCUMENT_SCHEMA
from pipeline.sources.source import BATCH_DOCUMENTS, BATCH_TEXT_BYTES

KERNELS = ("json_lines",)
"""Modules of `pipeline.kernels` that this one calls."""
LONGEST_BLOCK = 64 << 20
"""Bytes of a block that is tried; a longer one is a huge line."""
_ESCAPED = dict(zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True))
_COLUMNS = ("text", "id", "url", "language")


def columns_of(block: bytes, fields: tuple[str, str, str, str]) -> tuple[pa.Table, np.ndarray] | None:
    """The documents of a block of lines, or None when it must be read line by line.

    Args:
        block: lines, joined by \\n.
        fields: names of the fields that hold text, id, URL and language.

    Returns:
        A table with the string columns `text` (no nulls), `id` (all null or none), `url` and `language` (null where it
        is empty); and int64 [documents], where each line begins in the block.
    """
    # Imported here because commands that read no such lines need not wait for it.
    from pipeline.kernels.json_lines import columns_of_lines

    if len(block) > LONGEST_BLOCK or len(set(fields)) < len(fields) or set("".join(fields)) & set('"\\'):
        return None
    lines, values, ends, present, starts = columns_of_lines(np.frombuffer(block, np.uint8), *_names(fields), _escapes())
    if lines < 0:
        return None
    ends, present = ends[:, :lines], present[:, :lines]
    offsets = np.zeros((len(fields), lines + 1), np.int32)
    offsets[:, 1:] = ends
    present[_COLUMNS.index("language")] &= np.diff(offsets[_COLUMNS.index("language")]) > 0
    named = int(present[_COLUMNS.index("id")].sum())
    if not present[_COLUMNS.index("text")].all() or named not in (0, lines):
        return None
    columns = []
    for content, bounds, there in zip(values, offsets, present, strict=True):
        nulls = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
        data = pa.py_buffer(content[: bounds[-1]])
        columns.append(pa.Array.from_buffers(pa.string(), lines, [nulls, pa.py_buffer(bounds), data]))
    try:
        for column in columns:
            column.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return pa.Table.from_arrays(columns, list(_COLUMNS)), starts[:lines]


@cache
def _names(fields: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The names behind each other, uint8 [bytes], and where each ends, int64 [fields]."""
    encoded = [field.encode() for field in fields]
    return np.frombuffer(b"".join(encoded), np.uint8), np.array(list(accumulate(map(len, encoded))), np.int64)


@cache
def _escapes() -> np.ndarray:
    """uint8 [256]: what a byte behind a backslash stands for; 0 where it is another escape or none."""
    table = np.zeros(256, np.uint8)
    for byte, meant in _ESCAPED.items():
        table[byte] = meant
    return table


def rebatched(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of tables of documents in batches of bounded size, cut as `source.batched` cuts documents."""
    batch = _Batch()
    for table in tables:
        while table.num_rows:
            taken = batch.take(table)
            table = table.slice(taken)
            if batch.is_full:
                yield batch.finished()
                batch = _Batch()
    if batch.rows:
        yield batch.finished()


class _Batch:
    """Tables that become one batch."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._text_bytes = 0
        self._characters = 0
        self._counted = 0
        """Tables whose characters are in `_characters`; they are counted when their bytes could be too many."""
        self.rows = 0
        self.is_full = False

    def take(self, table: pa.Table) -> int:
        """Take as many rows as belong to the batch; returns how many, at least one."""
        table = table.slice(0, BATCH_DOCUMENTS - self.rows)
        self._text_bytes += compute.sum(compute.binary_length(table["text"])).as_py()
        if self._text_bytes >= BATCH_TEXT_BYTES:
            for earlier in self._tables[self._counted :]:
                self._characters += int(_characters(earlier).sum())
            sizes = self._characters + np.cumsum(_characters(table))
            table = table.slice(0, int(np.searchsorted(sizes, BATCH_TEXT_BYTES)) + 1)
            self._characters = int(sizes[table.num_rows - 1])
            self._counted = len(self._tables) + 1
        self._tables.append(table)
        self.rows += table.num_rows
        self.is_full = self.rows == BATCH_DOCUMENTS or self._characters >= BATCH_TEXT_BYTES
        return int(table.num_rows)

    def finished(self) -> pa.Table:
        """All rows in one chunk."""
        return pa.concat_tables(self._tables).combine_chunks()


def _characters(table: pa.Table) -> np.ndarray:
    return numpy_array(compute.utf8_length(table["text"])).astype(np.int64)


def documents(columns: pa.Table, prefix: str, places: np.ndarray, source: str, language: str | None) -> pa.Table:
    """Documents from what `columns_of` found.

    Args:
        columns: its table.
        prefix: of the ids of documents that bring none; their places follow.
        places: int64 [documents]: where each one's line begins in the file.
        source: name of the source.
        language: language of documents that name none.
    """
    count = columns.num_rows
    named = columns["language"]
    identities = columns["id"]
    if identities.null_count:
        identities = text_array([f"{prefix}{place}" for place in places.tolist()])
    found = {
        "id": identities,
        "text": columns["text"],
        "source": repeated_text(source, count),
        "url": columns["url"],
        "language": named if language is None else compute.coalesce(named, repeated_text(language, count)),
        "metadata": pa.nulls(count, pa.string()),
    }
    return pa.table([found[name] for name in DOCUMENT_SCHEMA.names], schema=DOCUMENT_SCHEMA)
