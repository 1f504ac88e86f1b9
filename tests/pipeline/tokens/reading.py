"""Reads a token dataset the slow, obvious way, by its contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline import storage


@dataclass(frozen=True)
class Row:
    """One row of a dataset."""

    ids: tuple[int, ...]
    ends: tuple[int, ...]
    sources: tuple[int, ...]

    def pieces(self) -> list[tuple[int, tuple[int, ...]]]:
        """(context, targets) of each document of the row."""
        starts = (0, *self.ends[:-1])
        return [(self.ids[start], self.ids[start + 1 : end + 1]) for start, end in zip(starts, self.ends, strict=True)]


def rows_of(directory: Path | str, split: str) -> list[Row]:
    """All rows of a split, in the order of the manifest."""
    rows = []
    for shard in storage.read_json(storage.join(str(directory), "tokens.json"))["splits"][split]["shards"]:
        with pa.ipc.open_stream(storage.join(str(directory), shard["file"])) as stream:
            for row in stream.read_all().to_pylist():
                fields = (row["input_ids"], row["document_ends"], row["document_sources"])
                rows.append(Row(*map(tuple, fields)))
    return rows


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a folder by its relative path."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}
