"""Folders of text files (plain, gzip or Zstandard): a file is a document, or each paragraph block of one is.

Small files are put together into one slice. A file that is not UTF-8 is quarantined as a whole, with the offset of the
first bad byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from pipeline import storage
from pipeline.shard import fingerprint
from pipeline.sources import files
from pipeline.sources.source import Quarantine, Slice, Source, batched

ENDINGS = (".txt", ".md", ".rst", ".txt.gz", ".txt.zst", ".md.gz", ".md.zst")


class TextFiles(Source):
    """Text files (.txt, .md, .rst; .gz or .zst), each a document: a file, a folder, a glob pattern or a URL."""

    kind: ClassVar[str] = "text"

    path: str
    """File, folder (read to the bottom) or glob pattern; local or any fsspec URL."""
    separator: str | None = None
    """Cuts a file into several documents (a line such as `<|endoftext|>`); null: a file is one document."""
    slice_bytes: int = Field(default=64 << 20, ge=1)
    """Files are put together into shards of about this size in bytes, as stored."""

    def plan(self) -> list[Slice]:
        """Runs of files of about `slice_bytes`."""
        found = files.expand(self.path, ENDINGS)
        names = files.relative_names(self.path, found)
        slices: list[Slice] = []
        group: list[str] = []
        size = 0
        for index, file in enumerate(found):
            group.append(file)
            size += storage.size_of(file)
            if size >= self.slice_bytes or index == len(found) - 1:
                label = group[0] if len(group) == 1 else f"{group[0]} and {len(group) - 1} more"
                stamp = fingerprint([storage.stamp_of(entry) for entry in group])
                slices.append(Slice(label, {"files": [[entry, names[entry]] for entry in group]}, stamp, size))
                group, size = [], 0
        return slices

    def read(self, part: Slice, quarantine: Quarantine) -> Iterator[pa.Table]:
        """The documents of the slice's files."""
        return batched(self._documents(part, quarantine))

    def _documents(self, part: Slice, quarantine: Quarantine) -> Iterator[dict[str, Any]]:
        for file, name in part.arguments["files"]:
            with files.open_decompressed(file) as stream:
                content = files.read_all(stream)
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError as fault:
                quarantine.add(file, f"byte {fault.start}", f"is not UTF-8 ({fault.reason})")
                continue
            pieces = [text] if self.separator is None else text.split(self.separator)
            for number, piece in enumerate(pieces):
                if piece.strip():
                    suffix = "" if self.separator is None else f"#{number}"
                    yield {"id": f"{self.label}/{name}{suffix}", "text": piece, "source": self.label}
