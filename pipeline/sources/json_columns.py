"""Blocks of JSON lines as Arrow columns, without a Python object a document: the quick way of `jsonl`.

It takes what nearly all lines of a corpus are: one object a line whose only fields are text, id, URL and language, as
texts. A block with anything else in it (other fields, a number, an empty or broken line) is refused whole and read line
by line, so that there is one place that says what becomes of such a line, and both ways give the same documents.

Decisions: pyarrow's reader finds the fields, but it neither looks at UTF-8 nor at line ends: it would take two objects
on a line, or one on two lines. So every line must begin with a brace and end with one, there must be as many objects as
lines (no value may hold a brace of its own, fields that do are refused), and the texts are validated.

Cost: 450 MB of JSON a CPU-second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyarrow import compute

from pipeline.shard import DOCUMENT_SCHEMA
from pipeline.sources.source import BATCH_DOCUMENTS, BATCH_TEXT_BYTES

LONGEST_BLOCK = 64 << 20
"""Bytes of a block that is tried; a longer one is a huge line."""


def columns_of(block: bytes, fields: tuple[str, str, str, str]) -> tuple[pa.Table, np.ndarray] | None:
    """The documents of a block of lines, or None when it must be read line by line.

    Args:
        block: lines, joined by \\n.
        fields: names of the fields that hold text, id, URL and language.

    Returns:
        A table with the string columns `text` (no nulls), `id` (all null or none), `url` and `language`; and int64
        [documents], where each line begins in the block.
    """
    # Imported here because commands that read no such lines need not wait for it.
    from pyarrow import json

    if len(block) > LONGEST_BLOCK or len(set(fields)) < len(fields):
        return None
    data = np.frombuffer(block, np.uint8)
    ends = np.append(np.flatnonzero(data == ord("\n")), len(data))
    starts = np.append(0, ends[:-1] + 1)
    if (starts >= ends).any() or (data[starts] != ord("{")).any() or (data[ends - 1] != ord("}")).any():
        return None
    schema = pa.schema([pa.field(name, pa.string()) for name in fields])
    try:
        table = json.read_json(
            pa.BufferReader(block),
            json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            json.ParseOptions(schema, newlines_in_values=False, unexpected_field_behavior="error"),
        )
        table.validate(full=True)
    except pa.ArrowInvalid:
        return None
    table = table.select(list(fields)).rename_columns(["text", "id", "url", "language"])
    if table.num_rows != len(starts) or table["text"].null_count or table["id"].null_count not in (0, len(starts)):
        return None
    return table, starts


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
    return np.asarray(compute.utf8_length(table["text"]), np.int64)


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
    if compute.any(compute.equal(named, "")).as_py():
        named = compute.if_else(compute.equal(named, ""), None, named)
    identities = columns["id"]
    if identities.null_count:
        identities = pa.array([f"{prefix}{place}" for place in places.tolist()], pa.string())
    found = {
        "id": identities,
        "text": columns["text"],
        "source": pa.repeat(pa.scalar(source), count),
        "url": columns["url"],
        "language": named if language is None else named.fill_null(language),
        "metadata": pa.nulls(count, pa.string()),
    }
    return pa.table([found[name] for name in DOCUMENT_SCHEMA.names], schema=DOCUMENT_SCHEMA)
