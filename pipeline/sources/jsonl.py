"""JSON Lines: one object a line, plain, gzip or Zstandard.

A plain file is cut into slices of `slice_bytes` at line ends; a compressed one cannot be and is one slice. A document's
id is its `id` field, or the file's name and the byte offset of its line, which no cutting changes. Lone surrogates
(\\ud800 and the like, which are no characters) become U+FFFD; a line that is no JSON object with a text is
quarantined, also one that is not UTF-8 and one longer than any allowed document.

Cost: 580 MB a CPU-second where no field stands beside text, id, URL and language (`json_columns`), else 210.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, ClassVar

import orjson
import pyarrow as pa
from pydantic import Field

from pipeline import storage
from pipeline.errors import UserError
from pipeline.sources import files
from pipeline.sources.documents import FileSource
from pipeline.sources.json_columns import KERNELS, columns_of, documents, rebatched
from pipeline.sources.records import RecordSource
from pipeline.sources.source import Quarantine, Slice

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".ndjson.gz", ".ndjson.zst", ".json.gz", ".json.zst")
_OTHER_FIELDS = 16 << 20
"""Bytes of a line allowed for all that is not the text."""


class JsonLines(RecordSource, FileSource):
    """JSON Lines files: plain, .gz or .zst; a file, a folder, a glob pattern or any fsspec URL."""

    kind: ClassVar[str] = "jsonl"
    kernels: ClassVar[tuple[str, ...]] = KERNELS

    slice_bytes: int = Field(default=256 << 20, ge=1)
    """Uncompressed size in bytes of the parts that become one shard each; a compressed file is one part."""

    def plan(self) -> list[Slice]:
        """One slice a compressed file, as many as needed for a plain one."""
        self.require_extractor()
        slices: list[Slice] = []
        found = files.expand(self.path, ENDINGS)
        files.check_kind(found[0], "jsonl")
        for file in found:
            size = storage.size_of(file)
            if size <= self.slice_bytes or files.compression_of(file):
                slices.append(files.file_slice(file))
            else:
                starts = range(0, size, self.slice_bytes)
                slices += [files.file_slice(file, start, min(start + self.slice_bytes, size)) for start in starts]
        names = files.relative_names(self.path, found)
        return [
            Slice(part.label, {**part.arguments, "name": names[part.arguments["file"]]}, part.stamp, part.input_bytes)
            for part in slices
        ]

    def read(self, part: Slice, quarantine: Quarantine) -> Iterator[pa.Table]:
        """The documents of the lines that begin inside the slice."""
        return rebatched(self._tables(part, quarantine))

    def _tables(self, part: Slice, quarantine: Quarantine) -> Iterator[pa.Table]:
        """The documents, block by block: by columns where all of its lines allow it."""
        file, start = part.arguments["file"], part.arguments["start"] or 0
        prefix = f"{self.label}/{part.arguments['name']}"
        # Extraction, choice by weight and licences are done document by document.
        is_plain = self.extract == "none" and self.weight == 1 and self.license is None
        fields = (self.text_field, self.id_field, self.url_field, self.language_field)
        lines_before = _LineCounter(file, start)
        number = 0
        for offset, block in _blocks(file, start, part.arguments["stop"], self._longest_line):
            found = columns_of(block, fields) if is_plain else None
            if found is None or len(block) > self.max_document_bytes:
                lines = _Lines(file, number, lines_before, _split(offset, block))
                yield from self.tables(self._documents(lines, prefix, quarantine), quarantine)
                number += block.count(b"\n") + 1
            else:
                columns, starts = found
                yield documents(columns, f"{prefix}@", offset + starts, self.label, self.language)
                number += len(starts)

    @property
    def _longest_line(self) -> int:
        # JSON may write two bytes of text as \uXXXX; what is longer than that holds no allowed document.
        return 3 * self.max_document_bytes + _OTHER_FIELDS

    def _documents(self, lines: _Lines, prefix: str, quarantine: Quarantine) -> Iterator[dict[str, Any]]:
        file = lines.file
        for number, (offset, line) in enumerate(lines.found, lines.number):
            if not line.strip():
                continue
            reason: str | None = None
            record: dict[str, Any] = {}
            if len(line) > self._longest_line:
                reason = f"is longer than max_document_bytes={self.max_document_bytes} allows"
            else:
                reason, record = _parse(line.removeprefix(b"\xef\xbb\xbf") if offset == 0 else line)
            if (reason := reason or self.fault(record)) is not None:
                if offset == 0 and (kind := files.kind_of(line)):
                    raise UserError(f"{file}: is {kind}, not JSON Lines: use the source `{files.SOURCE_OF[kind]}`")
                excerpt = line[:200].decode("utf-8", "replace")
                quarantine.add(file, lines.before() + number + 1, reason, excerpt)
                continue
            yield self.document(record, f"{prefix}@{offset}", (file, f"byte {offset}"))


def _blocks(file: str, start: int, stop: int | None, longest: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Blocks of lines that begin in [start, stop); a line that began before `start` belongs to the slice before."""
    with files.open_decompressed(file) as stream:
        # From one byte earlier, so that a line that begins exactly at `start` is seen to begin there.
        first = _next_line(stream, start - 1, stop) if start else 0
        if first is None:
            return
        if start:
            stream.seek(first)
        for offset, block in files.blocks_of_lines(stream, first, longest):
            if stop is not None and offset >= stop:
                return
            end = -1 if stop is None else block.find(b"\n", stop - offset - 1)
            yield offset, block if end < 0 else block[:end]


def _split(offset: int, block: bytes) -> Iterator[tuple[int, bytes]]:
    for line in block.split(b"\n"):
        yield offset, line
        offset += len(line) + 1


def _next_line(stream: IO[bytes], position: int, stop: int | None) -> int | None:
    """Where the first line after `position` begins; None when no line begins before `stop`."""
    stream.seek(position)
    while (stop is None or position < stop) and (block := stream.read(files.BLOCK_BYTES)):
        found = block.find(b"\n")
        if found >= 0:
            return position + found + 1
        position += len(block)
    return None


class _LineCounter:
    """Number of lines before a byte offset, counted only when a message needs it."""

    def __init__(self, file: str, start: int) -> None:
        self._file, self._start = file, start
        self._lines: int | None = None

    def __call__(self) -> int:
        if self._lines is None:
            blocks = _blocks(self._file, 0, self._start) if self._start else ()
            self._lines = sum(block.count(b"\n") + 1 for _, block in blocks)
        return self._lines


@dataclass(frozen=True)
class _Lines:
    """Lines of a block, with what a message about one of them says."""

    file: str
    number: int
    """Lines of the slice before the block."""
    before: _LineCounter
    """Lines of the file before the slice."""
    found: Iterator[tuple[int, bytes]]
    """Each line with the byte offset at which it begins."""


def _parse(line: bytes) -> tuple[str | None, dict[str, Any]]:
    """The reason why a line cannot be used, or the object it holds."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as fault:
        try:
            # Python's parser lets lone surrogates through, which orjson refuses.
            record = json.loads(line, parse_constant=lambda _: None)  # NaN, as in orjson's output
        except UnicodeDecodeError as broken:
            return f"is not UTF-8 (byte {broken.start} of the line)", {}
        except (ValueError, RecursionError):
            return f"is not JSON ({fault})", {}
        record = _without_surrogates(record)
    if not isinstance(record, dict):
        return f"is not a JSON object but a {type(record).__name__}", {}
    return None, record


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [_without_surrogates(entry) for entry in value]
    if isinstance(value, dict):
        return {_clean(key): _without_surrogates(entry) for key, entry in value.items()}
    return value


def _clean(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
