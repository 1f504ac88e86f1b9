"""Parquet files, read row group by row group; each slice is a run of row groups of one file.

Columns other than text, id and url are kept as metadata. A row whose text is null is quarantined.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as parquet

from pipeline import storage
from pipeline.errors import UserError
from pipeline.sources import files
from pipeline.sources.records import RecordFiles
from pipeline.sources.source import BATCH_DOCUMENTS, Quarantine, Slice, batched


class Parquet(RecordFiles):
    """Parquet files: a file, a folder, a glob pattern or any fsspec URL."""

    kind: ClassVar[str] = "parquet"

    def plan(self) -> list[Slice]:
        """Runs of row groups of about `slice_bytes`."""
        found = files.expand(self.path, (".parquet",))
        names = files.relative_names(self.path, found)
        slices: list[Slice] = []
        for file in found:
            with _open(file) as table:
                self._check_columns(file, table.schema_arrow)
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

    def _check_columns(self, file: str, schema: pa.Schema) -> None:
        if self.text_field not in schema.names:
            raise UserError(
                f"{file}: has no column `{self.text_field}`, only {', '.join(schema.names)}: "
                "set the source's `text_field`"
            )
        kind = schema.field(self.text_field).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise UserError(f"{file}: column `{self.text_field}` is {kind}, not text: set the source's `text_field`")

    def read(self, part: Slice, quarantine: Quarantine) -> Iterator[pa.Table]:
        """The documents of the slice's row groups."""
        return batched(self._documents(part, quarantine))

    def _documents(self, part: Slice, quarantine: Quarantine) -> Iterator[dict[str, Any]]:
        arguments = part.arguments
        row = arguments["row"]
        with _open(arguments["file"]) as table:
            groups = list(range(arguments["first"], arguments["stop"]))
            for batch in table.iter_batches(batch_size=BATCH_DOCUMENTS, row_groups=groups):
                for record in batch.to_pylist():
                    if record[self.text_field] is None:
                        quarantine.add(arguments["file"], f"row {row}", f"`{self.text_field}` is null")
                    else:
                        yield self.document(record, f"{self.label}/{arguments['name']}#{row}")
                    row += 1


@contextmanager
def _open(file: str) -> Iterator[parquet.ParquetFile]:
    with storage.open_binary(file) as stream:
        try:
            yield parquet.ParquetFile(stream)
        except pa.ArrowInvalid as fault:
            raise UserError(
                f"{file}: is damaged or is no Parquet file ({fault}): fetch it again, or remove it from the source"
            ) from fault
