"""What the sources that read files share: patterns to files, decompression, and lines of bounded memory.

Compression is told by the file's first bytes, not by its name. A compressed file that ends in the middle is an error
of that file; it is not read as if it were whole.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from pipeline import storage
from pipeline.errors import UserError
from pipeline.sources.source import Slice

GZIP_MAGIC = b"\x1f\x8b"
ZSTANDARD_MAGIC = b"\x28\xb5\x2f\xfd"
BLOCK_BYTES = 1 << 20


def expand(path: str, endings: tuple[str, ...] | None = None) -> list[str]:
    """The files that a path, folder or glob pattern names, sorted.

    A folder stands for the files below it with one of the `endings`; hidden files are left out.

    Raises:
        UserError: nothing matches.
    """
    url = storage.absolute(path)
    filesystem, bare = storage.filesystem_of(url)
    if any(character in bare for character in "*?["):
        found = sorted(str(entry) for entry in filesystem.glob(bare) if filesystem.isfile(entry))
    elif filesystem.isdir(bare):
        found = sorted(str(entry) for entry in filesystem.find(bare) if endings is None or str(entry).endswith(endings))
    elif filesystem.exists(bare):
        found = [bare]
    else:
        raise UserError(f"{path}: no such file or folder; correct the source's `path`")
    found = [entry for entry in found if not storage.name_of(entry).startswith(".")]
    if not found:
        wanted = f" with ending {', '.join(endings)}" if endings else ""
        raise UserError(f"{path}: no file{wanted} matches; correct the source's `path`")
    return [entry if storage.is_local(url) else filesystem.unstrip_protocol(entry) for entry in found]


def file_slice(file: str, start: int | None = None, stop: int | None = None) -> Slice:
    """A whole file, or its part from `start` to `stop`, as a slice."""
    part = "" if start is None else f" from byte {start}"
    size = storage.size_of(file) if start is None or stop is None else stop - start
    return Slice(f"{file}{part}", {"file": file, "start": start, "stop": stop}, storage.stamp_of(file), size)


def relative_names(path: str, found: list[str]) -> dict[str, str]:
    """Short names of the files that `path` stands for, for document ids: their places below its fixed part.

    Files that come or go beside a file do not change its name, so ids are stable while a source grows.
    """
    segments = storage.absolute(path).split("/")
    wild = next((at for at, segment in enumerate(segments) if set(segment) & set("*?[")), len(segments))
    fixed = "/".join(segments[:wild]) + "/"
    return {file: file.removeprefix(fixed) if file.startswith(fixed) else storage.name_of(file) for file in found}


def compression_of(file: str) -> str | None:
    """`gzip`, `zstandard` or None, by the file's first bytes."""
    with storage.open_binary(file) as stream:
        head = stream.read(4)
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    return "zstandard" if head.startswith(ZSTANDARD_MAGIC) else None


@contextmanager
def open_decompressed(file: str) -> Iterator[IO[bytes]]:
    """The content of a plain, gzip or Zstandard file.

    Raises:
        UserError: the compressed data is damaged or ends in the middle.
    """
    kind = compression_of(file)
    with storage.open_binary(file) as raw:
        try:
            if kind == "gzip":
                with gzip.GzipFile(fileobj=raw) as stream:
                    yield stream  # type: ignore[misc]
            elif kind == "zstandard":
                yield _Zstandard(raw)  # type: ignore[misc]
            else:
                yield raw
        except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
            raise UserError(
                f"{file}: the {kind} data is damaged or cut short ({fault}): "
                "fetch the file again, or remove it from the source"
            ) from fault


class _Zstandard(io.RawIOBase):
    """Reads all frames of a Zstandard stream; `zstandard`'s own reader takes a cut stream for a finished one."""

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard

        self._raw = raw
        self._context = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        self._frame: Any = None
        self._fault = zstandard.ZstdError

    def read(self, size: int = -1) -> bytes:
        """The next decompressed block, of any length; empty at the end. `size` bounds the compressed input."""
        while True:
            block = self._raw.read(BLOCK_BYTES if size < 0 else min(size, BLOCK_BYTES))
            if not block:
                if self._frame is not None:
                    raise EOFError("the last frame has no end")
                return b""
            content = self._decompress(block)
            if content:
                return content

    def _decompress(self, block: bytes) -> bytes:
        parts: list[bytes] = []
        while block:
            if self._frame is None:
                self._frame = self._context.decompressobj()
            try:
                parts.append(self._frame.decompress(block))
            except self._fault as fault:
                raise EOFError(str(fault)) from fault
            block = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        return b"".join(parts)


def read_all(stream: IO[bytes]) -> bytes:
    """The rest of a stream whose `read` may return less than was asked for."""
    blocks: list[bytes] = []
    while block := stream.read(BLOCK_BYTES):
        blocks.append(block)
    return b"".join(blocks)


def lines_of(stream: IO[bytes], position: int = 0) -> Iterator[tuple[int, bytes]]:
    """Lines without their end, each with the byte offset at which it begins; only \\n ends a line."""
    rest: list[bytes] = []
    while block := stream.read(BLOCK_BYTES):
        pieces = block.split(b"\n")
        for piece in pieces[:-1]:
            rest.append(piece)
            line = b"".join(rest)
            rest = []
            yield position, line
            position += len(line) + 1
        rest.append(pieces[-1])
    if line := b"".join(rest):
        yield position, line
