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
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        lengths = np.asarray(compute.utf8_length(table["text"]), np.int64)
        while len(lengths):
            sizes = size + np.cumsum(lengths[: BATCH_DOCUMENTS - rows])
            full = int(np.searchsorted(sizes, BATCH_TEXT_BYTES)) + 1
            taken = min(full, len(sizes))
            waiting.append(table.slice(0, taken))
            rows, size = rows + taken, int(sizes[taken - 1])
            table, lengths = table.slice(taken), lengths[taken:]
            if rows == BATCH_DOCUMENTS or size >= BATCH_TEXT_BYTES:
                yield pa.concat_tables(waiting).combine_chunks()
                waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def documents(columns: pa.Table, identities: list[str], source: str, language: str | None) -> pa.Table:
    """Documents from what `columns_of` found.

    Args:
        columns: its table.
        identities: an id for each document, when they bring none.
        source: name of the source.
        language: language of documents that name none.
    """
    count = columns.num_rows
    named = columns["language"]
    if compute.any(compute.equal(named, "")).as_py():
        named = compute.if_else(compute.equal(named, ""), None, named)
    found = {
        "id": columns["id"] if columns["id"].null_count == 0 else pa.array(identities, pa.string()),
        "text": columns["text"],
        "source": pa.repeat(pa.scalar(source), count),
        "url": columns["url"],
        "language": named if language is None else named.fill_null(language),
        "metadata": pa.nulls(count, pa.string()),
    }
    return pa.table([found[name] for name in DOCUMENT_SCHEMA.names], schema=DOCUMENT_SCHEMA)
