"""Parquet files, read row group by row group; each slice is a run of row groups of one file.

Columns that are not columns of a document are kept as metadata. A row whose text is null or not UTF-8 is
quarantined.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as parquet
from pydantic import Field

from pipeline import storage
from pipeline.errors import UserError
from pipeline.sources import files
from pipeline.sources.columns import ColumnFiles
from pipeline.sources.source import BATCH_DOCUMENTS, BATCH_TEXT_BYTES, Quarantine, Slice


class Parquet(ColumnFiles):
    """Parquet files: a file, a folder, a glob pattern or any fsspec URL."""

    kind: ClassVar[str] = "parquet"

    slice_bytes: int = Field(default=256 << 20, ge=1)
    """Uncompressed size in bytes of the parts that become one shard each."""

    def plan(self) -> list[Slice]:
        """Runs of row groups of about `slice_bytes`."""
        self.require_extractor()
        found = files.expand(self.path, (".parquet",))
        files.check_kind(found[0], "parquet")
        names = files.relative_names(self.path, found)
        slices: list[Slice] = []
        for file in found:
            with _open(file) as table:
                self.check_columns(file, table.schema_arrow)
                groups = [table.metadata.row_group(index) for index in range(table.num_row_groups)]
            stamp, first, first_row, size, row = storage.stamp_of(file), 0, 0, 0, 0
            for index, group in enumerate(groups):
                size += group.total_byte_size
                row += group.num_rows
                if size >= self.slice_bytes or index == len(groups) - 1:
                    arguments = {"file": file, "name": names[file], "first": first, "stop": index + 1, "row": first_row}
                    slices.append(Slice(f"{file} row groups {first} to {index}", arguments, stamp, size))
                    first, first_row, size = index + 1, row, 0
        return slices

    def read(self, part: Slice, quarantine: Quarantine) -> Iterator[pa.Table]:
        """The documents of the slice's row groups."""
        return self.tables(self._documents(part, quarantine), quarantine)

    def _documents(self, part: Slice, quarantine: Quarantine) -> Iterator[dict[str, Any]]:
        arguments = part.arguments
        with _open(arguments["file"]) as table:
            groups = list(range(arguments["first"], arguments["stop"]))
            rows = sum(table.metadata.row_group(index).num_rows for index in groups)
            size = sum(table.metadata.row_group(index).total_byte_size for index in groups)
            # Long documents are read in smaller batches, so that memory stays with bytes, not with rows.
            batch_rows = max(1, min(BATCH_DOCUMENTS, BATCH_TEXT_BYTES * rows // max(1, size)))
            batches = table.iter_batches(batch_size=batch_rows, row_groups=groups, use_threads=False)
            yield from self.documents(batches, arguments["file"], arguments["name"], arguments["row"], quarantine)


@contextmanager
def _open(file: str) -> Iterator[parquet.ParquetFile]:
    with storage.open_binary(file) as stream:
        try:
            yield parquet.ParquetFile(stream)
        except (pa.ArrowException, UnicodeDecodeError, MemoryError, OSError) as fault:
            # Damage shows as any of these: a name that is no text, a length beyond all memory.
            # Arrow reports damaged pages as OSError without a number; those of the file system have one.
            if isinstance(fault, OSError) and fault.errno is not None:
                raise
            raise UserError(
                f"{file}: is damaged or is no Parquet file ({fault}): fetch it again, or remove it from the source"
            ) from fault
