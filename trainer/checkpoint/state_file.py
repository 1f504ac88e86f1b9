"""State files: safetensors, written as a stream and hashed on the way, so that nothing is read or copied twice.

The format is eight bytes with the header's length, a JSON header, and the values (safetensors' README); the library
writes only what is in memory as a whole, so the writing is done here. Reading back with the library is in the tests.
Hashing runs beside writing, and what is written is sent to the disk at once, not when all is there: a file costs the
slowest of hashing, writing and the disk, not their sum.
"""

import ctypes
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

BLOCK = 8 << 20
"""Bytes that are hashed and written at once."""
_ALONE = 1 << 18
"""Smaller blocks are hashed where they are: handing them over costs more."""
VALUE_BYTES = 4
"""Everything is fp32."""


@dataclass(frozen=True)
class Written:
    """A finished file."""

    size: int
    """Bytes."""
    sha256: str
    """Of the whole file."""
    offsets: tuple[int, ...]
    """Where each tensor's values begin in the file, in the order given."""


def header_of(tensors: Sequence[tuple[str, int]]) -> tuple[bytes, tuple[int, ...]]:
    """The beginning of a file of 1-D fp32 tensors given as (key, number of values); and where each one lies."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at, places = 0, []
    for key, count in tensors:
        header[key] = {"dtype": "F32", "shape": [count], "data_offsets": [at, at + count * VALUE_BYTES]}
        places.append(at)
        at += count * VALUE_BYTES
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    content = len(text).to_bytes(8, "little") + text
    return content, tuple(len(content) + place for place in places)


def write_state_file(path: Path, tensors: Sequence[tuple[str, int]], values: Iterable[memoryview]) -> Written:
    """Write a file and flush it to disk; `values` yields the bytes of all tensors, in order, in blocks of any size.

    A file that cannot be finished is removed, so that it does not fill a full disk. Raises ValueError when `values` has
    fewer or more bytes than the tensors.
    """
    header, offsets = header_of(tensors)
    expected = len(header) + VALUE_BYTES * sum(count for _, count in tensors)
    digest = hashlib.sha256(header)
    size = len(header)
    try:
        with path.open("wb", buffering=0) as file, ThreadPoolExecutor(1) as hashing:
            _write(file.fileno(), memoryview(header))
            for block in values:
                if block.nbytes <= _ALONE:
                    digest.update(block)
                    _write(file.fileno(), block)
                else:
                    hashed = hashing.submit(digest.update, block)
                    _write(file.fileno(), block)
                    _begin_flushing(file.fileno(), size, block.nbytes)
                    hashed.result()
                size += block.nbytes
            if size != expected:
                raise ValueError(f"{path.name} has {size} bytes instead of {expected}")
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Written(size, digest.hexdigest(), offsets)


def _write(descriptor: int, block: memoryview) -> None:
    while block.nbytes:
        block = block[os.write(descriptor, block) :]


def _begin_flushing(descriptor: int, start: int, count: int) -> None:
    """Ask Linux to send a range to the disk without waiting (sync_file_range, which Python does not have)."""
    flush = _sync_file_range()
    if flush is not None:
        flush(descriptor, start, count, _WRITE)  # advice: the flush at the end tells whether it reached the disk


_WRITE = 2
"""SYNC_FILE_RANGE_WRITE of linux/fs.h."""


@cache
def _sync_file_range() -> Any:
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function
