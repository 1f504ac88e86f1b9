"""How much lies in compressed input: an estimate for `--dry-run`, without reading it all.

Decisions: the beginnings of a few files of each ending, spread evenly over the input, tell how much larger content is
than what is stored. Files of one crawl compress alike, so the estimate is off by some percent where the stored size is
off by a factor of three to ten. Cost: `SAMPLES` times `SAMPLE_BYTES` decompressed for each ending, a tenth of a second.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from pipeline import storage
from pipeline.sources import files
from pipeline.sources.source import Slice

SAMPLES = 5
"""Files of each ending that are looked into."""
SAMPLE_BYTES = 1 << 20
"""Stored bytes that are read of each."""
_GZIP_FORMAT = 31


def content_bytes(slices: Sequence[Slice]) -> int:
    """Size of what the slices hold when decompressed; of what is not compressed, the size as stored."""
    stored: dict[str, dict[str, int]] = {}
    total = 0
    for part in slices:
        file = part.arguments.get("file")
        if isinstance(file, str):
            sizes = stored.setdefault(PurePosixPath(file).suffix, {})
            sizes[file] = sizes.get(file, 0) + part.input_bytes
        else:
            total += part.input_bytes
    for sizes in stored.values():
        read, content = zip(*map(_sample, list(sizes)[:: -(-len(sizes) // SAMPLES)]), strict=True)
        total += round(sum(sizes.values()) * sum(content) / max(1, sum(read)))
    return total


def _sample(file: str) -> tuple[int, int]:
    """Bytes as stored and bytes of content of the beginning of a file."""
    kind = files.compression_of(file)
    if kind is None:
        size = max(1, storage.size_of(file))
        return size, size
    import zstandard

    with storage.open_binary(file) as raw:
        beginning = raw.read(SAMPLE_BYTES)
    content, rest = 0, beginning
    while rest:
        # A file may have many members or frames.
        frame: Any
        if kind == "gzip":
            frame = zlib.decompressobj(_GZIP_FORMAT)
        else:
            frame = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
        try:
            content += len(frame.decompress(rest))
        except (zlib.error, zstandard.ZstdError):
            # The task that reads the file will name it: here what could be read is enough.
            break
        rest = frame.unused_data if frame.eof else b""
    return len(beginning), content
