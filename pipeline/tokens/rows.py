"""Writes pieces as rows: the shards of the dataset, and the leftovers that wait for those of other buckets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import ArrowWriter, open_table
from pipeline.tokens.format import row_schema
from pipeline.tokens.packing import Pieces, frozen


@dataclass(frozen=True)
class Leftovers:
    """Pieces that did not fill a row of their bucket, in order."""

    tokens: np.ndarray
    """uint [tokens] of all pieces."""
    starts: np.ndarray
    """int64[pieces + 1]."""
    contexts: np.ndarray
    """int64[pieces]: the token before each."""
    source: np.ndarray
    """uint16[pieces]."""


def write_rows(
    directory: str,
    prefix: str,
    tokens: np.ndarray,
    source: np.ndarray,
    pieces: Pieces,
    rows: int,
    context_length: int,
    padding: int,
    shard_bytes: int,
) -> list[dict[str, Any]]:
    """Write rows to `<prefix>-000.arrow` and so on; returns file, rows, file_bytes, sha256 of each.

    Args:
        directory: Of the dataset.
        prefix: Of the files, with their folder.
        tokens: What `pieces.starts` points into.
        source: uint16 by document, what `pieces.document` points into.
        pieces: All pieces of the rows.
        rows: Number of rows; files have equal shares of them.
        context_length: Places in a row.
        padding: Token behind the last document of a row.
        shard_bytes: Most bytes of rows in a file.
    """
    from pipeline.kernels.packing import lay_out

    schema = row_schema(context_length, tokens.dtype)
    rows_per_file = max(1, shard_bytes // ((context_length + 1) * tokens.dtype.itemsize))
    files = -(-rows // rows_per_file)
    listed = []
    for number, (first, last) in enumerate(
        pairwise([rows * file // files for file in range(files + 1)] if files else [])
    ):
        inside = slice(*np.searchsorted(pieces.rows, [first, last]).tolist())
        places, offsets, lengths = pieces.rows[inside] - first, pieces.offsets[inside], pieces.lengths[inside]
        laid = np.full((last - first, context_length + 1), padding, tokens.dtype)
        lay_out(
            frozen(tokens),
            frozen(pieces.starts[inside]),
            frozen(lengths),
            frozen(places),
            frozen(offsets),
            frozen(pieces.contexts[inside]),
            laid,
        )
        bounds = np.searchsorted(places, np.arange(last - first + 1)).astype(np.int32)
        columns = [
            pa.FixedSizeListArray.from_arrays(pa.array(laid.reshape(-1)), type=schema.field(0).type),
            pa.ListArray.from_arrays(pa.array(bounds), pa.array((offsets + lengths).astype(np.uint32))),
            pa.ListArray.from_arrays(pa.array(bounds), pa.array(source[pieces.document[inside]])),
        ]
        table = pa.table(columns, schema=schema)
        file = f"{prefix}-{number:03d}.arrow"
        sha256, size = _write(storage.join(directory, file), table)
        listed.append({"file": file, "rows": table.num_rows, "file_bytes": size, "sha256": sha256})
    return listed


def write_leftovers(url: str, tokens: np.ndarray, source: np.ndarray, pieces: Pieces) -> str:
    """Write pieces in their order; returns the file's sha256. Arguments as `write_rows`."""
    starts = np.concatenate([[0], np.cumsum(pieces.lengths)]).astype(np.int64)
    ranges = zip(pieces.starts.tolist(), pieces.lengths.tolist(), strict=True)
    parts = [tokens[start : start + length] for start, length in ranges]
    values = np.concatenate([tokens[:0], *parts])
    table = pa.table(
        {
            "context": pieces.contexts.astype(np.uint32),
            "source": source[pieces.document],
            "tokens": pa.LargeListArray.from_arrays(pa.array(starts), pa.array(values)),
        }
    )
    return _write(url, table)[0]


def read_leftovers(files: Mapping[str, str]) -> Leftovers:
    """The leftovers of all buckets, in order, from their files and the sha256 of each.

    Raises:
        UserError: a file is damaged.
    """
    for url, sha256 in files.items():
        if storage.sha256_of(url) != sha256:
            raise UserError(f"{url} does not have the sha256 of its record: remove it and run the same command again")
    table = pa.concat_tables([open_table(url) for url in files])
    column = table["tokens"].combine_chunks()
    return Leftovers(
        column.values.to_numpy(),
        column.offsets.to_numpy(),
        table["context"].to_numpy().astype(np.int64),
        table["source"].to_numpy(),
    )


def _write(url: str, table: pa.Table) -> tuple[str, int]:
    with storage.write_atomically(url) as file:
        writer = ArrowWriter(file, table.schema)
        writer.write(table)
        return writer.close()
