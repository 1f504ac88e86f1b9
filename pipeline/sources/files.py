"""What the sources that read files share: patterns to files, decompression, and lines of bounded memory.

Compression is told by the file's first bytes, not by its name. A compressed file that ends in the middle is an error
of that file; it is not read as if it were whole.

Cost: gzip 440 MB of content a CPU-second by ISA-L, 170 by zlib where ISA-L has no package.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from pipeline import storage
from pipeline.errors import SettingError, UserError
from pipeline.sources.source import Slice

GzipFile: type[gzip.GzipFile]
GZIP_FAULTS: tuple[Any, ...] = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged gzip file raises."""
try:
    from isal import igzip, igzip_lib
except ImportError:  # there are no wheels for this processor
    GzipFile = gzip.GzipFile
else:
    GzipFile = igzip.IGzipFile
    GZIP_FAULTS = (*GZIP_FAULTS, igzip_lib.IsalError)

GZIP_MAGIC = b"\x1f\x8b"
ZSTANDARD_MAGIC = b"\x28\xb5\x2f\xfd"
BLOCK_BYTES = 1 << 20
_PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "hf": "huggingface_hub",
}

SOURCE_OF = {"a Parquet file": "parquet", "an Arrow file": "arrow", "a web archive": "warc"}
"""What a file is, by its first bytes, and the source that reads it."""
_MAGICS = {
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\xff\xff\xff\xff": "an Arrow file",
    b"WARC/": "a web archive",
}


def kind_of(head: bytes) -> str | None:
    """What kind of file begins like this, if another source than that of plain text reads it (see `SOURCE_OF`)."""
    return next((kind for magic, kind in _MAGICS.items() if head.startswith(magic)), None)


def check_kind(file: str, source: str) -> None:
    """Look at the first bytes of a file before any work.

    Args:
        file: the file.
        source: the key of the source that is to read it.

    Raises:
        SettingError: they are those of a kind of file that another source reads; names it.
    """
    kind = kind_of(head_of(file))
    if kind is not None and SOURCE_OF[kind] != source:
        raise SettingError(f"{file}: is {kind}: use the source `{SOURCE_OF[kind]}`")


def expand(path: str | Sequence[str], endings: tuple[str, ...] | None = None) -> list[str]:
    """The files that a path, folder or glob pattern names, sorted; of several, one after the other, each file once.

    A folder stands for the files below it with one of the `endings`, in capitals too; hidden files and what is in
    hidden folders are left out, unless they are named themselves.

    Raises:
        SettingError: nothing matches.
        UserError: a package for the URL's protocol is missing, or a remote store cannot be asked.
    """
    if isinstance(path, str):
        return _expand(path, endings)
    return list(dict.fromkeys(file for entry in path for file in _expand(entry, endings)))


def _expand(path: str, endings: tuple[str, ...] | None) -> list[str]:
    url = storage.absolute(path)
    filesystem, bare = _filesystem(url)
    # A file's own name may look like a pattern: data[1].jsonl.
    is_pattern = bool(set(bare) & set("*?[")) and not (storage.is_local(url) and storage.exists(url))
    try:
        found = _listed(filesystem, bare, endings, is_pattern)
    except Exception as fault:
        if storage.is_local(url):
            raise
        # Each store has faults of its own (no credentials, no such host), with no common base.
        said = " ".join(str(fault).split())[:300]
        raise UserError(
            f"{path}: cannot be listed ({type(fault).__name__}: {said}): check the address, the network and your "
            "credentials"
        ) from fault
    if found is None:
        raise SettingError(f"{path}: no such file or folder; correct the source's `path`")
    if not found:
        wanted = f" with ending {', '.join(endings)}" if endings and filesystem.isdir(bare) else ""
        raise SettingError(f"{path}: no file{wanted} matches; correct the source's `path`")
    return [entry if storage.is_local(url) else filesystem.unstrip_protocol(entry) for entry in found]


def _listed(filesystem: Any, bare: str, endings: tuple[str, ...] | None, is_pattern: bool) -> list[str] | None:
    """The sorted files of one path, None when there is no such path."""
    if is_pattern:
        found = sorted(str(entry) for entry in filesystem.glob(bare) if filesystem.isfile(entry))
        return [entry for entry in found if not storage.name_of(entry).startswith(".")]
    if filesystem.isdir(bare):
        found = sorted(str(entry) for entry in filesystem.find(bare))
        wanted = [entry for entry in found if endings is None or entry.lower().endswith(endings)]
        return [entry for entry in wanted if "/." not in entry.removeprefix(bare)]
    return [bare] if filesystem.exists(bare) else None


def file_slice(file: str, start: int | None = None, stop: int | None = None) -> Slice:
    """A whole file, or its part from `start` to `stop`, as a slice."""
    part = "" if start is None else f" from byte {start}"
    size = storage.size_of(file) if start is None or stop is None else stop - start
    return Slice(f"{file}{part}", {"file": file, "start": start, "stop": stop}, storage.stamp_of(file), size)


def relative_names(path: str | Sequence[str], found: Sequence[str]) -> dict[str, str]:
    """Short names of the files that `path` stands for, for document ids: their places below its fixed part.

    Files that come or go beside a file do not change its name, so ids are stable while a source grows. Where two of
    several paths would give the same name to different files, those go by their whole path.
    """
    places = [_fixed_part(entry) for entry in ([path] if isinstance(path, str) else path)]
    names: dict[str, str] = {}
    for file in found:
        fixed = next((place for place in places if file.startswith(place)), None)
        names[file] = storage.name_of(file) if fixed is None else file.removeprefix(fixed)
    uses = Counter(names.values())
    return {file: name if uses[name] == 1 else file for file, name in names.items()}


def _fixed_part(path: str) -> str:
    segments = storage.absolute(path).split("/")
    wild = next((at for at, segment in enumerate(segments) if set(segment) & set("*?[")), len(segments))
    return "/".join(segments[:wild]) + "/"


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        return storage.filesystem_of(url)
    except ImportError as fault:
        protocol = url.split("://")[0]
        package = _PACKAGES.get(protocol, fault.name or "the package that fsspec names")
        raise UserError(
            f"{url}: reading {protocol}:// needs a package that is missing: pip install {package}"
        ) from fault
    except ValueError as fault:
        raise SettingError(f"{url}: {fault}; correct the source's `path`") from fault


def head_of(file: str) -> bytes:
    """The first bytes of a file, by which its kind is known."""
    with storage.open_binary(file) as stream:
        return stream.read(8)


def compression_of(file: str) -> str | None:
    """`gzip`, `zstandard` or None, by the file's first bytes."""
    head = head_of(file)
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
                with GzipFile(fileobj=raw) as stream:
                    yield stream  # type: ignore[misc]
            elif kind == "zstandard":
                yield _Zstandard(raw)  # type: ignore[misc]
            else:
                yield raw
        except GZIP_FAULTS as fault:
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


def lines_of(stream: IO[bytes], position: int = 0, longest: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Lines without their end, each with the byte offset at which it begins; only \\n ends a line.

    A line of more than `longest` bytes is cut: somewhat more than `longest` bytes of it are given and the rest is
    passed over, so memory is bounded by about twice `longest`, however long the line.
    """
    for offset, block in blocks_of_lines(stream, position, longest):
        for line in block.split(b"\n"):
            yield offset, line
            offset += len(line) + 1


def blocks_of_lines(stream: IO[bytes], position: int = 0, longest: int | None = None) -> Iterator[tuple[int, bytes]]:
    """As `lines_of`, whole lines together: about `BLOCK_BYTES` of them, joined by \\n, without the end of the last one.

    A line that is cut is a block by itself.
    """
    rest: list[bytes] = []
    length = 0
    while block := stream.read(BLOCK_BYTES):
        begin, end = 0, block.rfind(b"\n")
        if end >= 0 and longest is not None and length > longest:
            yield position, b"".join(rest)
            begin = block.find(b"\n") + 1
            position += length + begin
            rest, length = [], 0
        if begin <= end:
            rest.append(block[begin:end])
            lines = b"".join(rest)
            yield position, lines
            position += len(lines) + 1
            rest, length = [], 0
        if longest is None or length <= longest:
            rest.append(block[max(begin, end + 1) :])
        length += len(block) - max(begin, end + 1)
    if lines := b"".join(rest):
        yield position, lines
