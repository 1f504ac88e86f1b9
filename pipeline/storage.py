"""Files on local disk and on any fsspec URL (s3://, gs://, memory://, ...), one code path.

Decisions: a path without a protocol is local. A file appears whole or not at all: on local disk it is written under
a temporary name in the same folder, flushed to disk and renamed; for an object store it is written to local
temporary space and uploaded whole (object stores show an object only when its upload is complete). Faults that
repeating cannot cure (full disk, read-only folder, no permission) become `StorageError` with the remedy; other
`OSError`s pass through, so that the engine may try again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import posixpath
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pipeline.errors import StorageError

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space and run the same command again; finished shards are kept",
    errno.EDQUOT: "the disk quota is used up: free some space and run the same command again",
    errno.EROFS: "the file system is read-only: choose another `run:` directory",
    errno.EACCES: "permission denied: make the folder writable or choose another `run:` directory",
    errno.EPERM: "not permitted: make the folder writable or choose another `run:` directory",
    errno.ENOTDIR: "a file stands where a folder is needed: remove it or choose another `run:` directory",
}
_TEMPORARY_PREFIX = ".tmp-"


def is_local(url: str) -> bool:
    """Whether the URL is a path of this machine's file system."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> Path:
    """The path behind a local URL."""
    return Path(url.removeprefix("file://"))


def absolute(url: str) -> str:
    """The URL as it may be handed to another process with another working directory."""
    return str(local_path(url).expanduser().absolute()) if is_local(url) else url.rstrip("/")


def join(base: str, *parts: str) -> str:
    """Join path segments, for local paths and URLs alike."""
    return posixpath.join(base, *parts)


def name_of(url: str) -> str:
    """The last segment of a path or URL."""
    return posixpath.basename(url.rstrip("/"))


def filesystem_of(url: str) -> tuple[Any, str]:
    """The fsspec file system behind a URL, and the path in it."""
    import fsspec

    # Workers and other jobs write to the same folders: a remembered listing would hide their files.
    filesystem, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return filesystem, path


@contextmanager
def explained(url: str, action: str) -> Iterator[None]:
    """Turn faults that only a person can cure into a `StorageError` naming the file and the remedy."""
    try:
        yield
    except OSError as fault:
        remedy = _REMEDIES.get(fault.errno or 0)
        if remedy is None:
            raise
        raise StorageError(f"cannot {action} {url}: {remedy}") from fault


@contextmanager
def write_atomically(url: str) -> Iterator[IO[bytes]]:
    """A binary file that exists under `url` only after the block ended without an error.

    Raises:
        StorageError: the disk is full, read-only or not writable for this user.
    """
    with explained(url, "write"):
        if not is_local(url):
            with tempfile.NamedTemporaryFile(prefix="gptmill-upload-") as file:
                yield file
                file.flush()
                filesystem, path = filesystem_of(url)
                filesystem.put_file(file.name, path)
            return
        target = local_path(url)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{_TEMPORARY_PREFIX}{target.name}-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_json(url: str, value: Any) -> None:
    """Write a value as stable, readable JSON (sorted keys, two spaces), atomically."""
    with write_atomically(url) as file:
        file.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n")


def read_json(url: str) -> Any:
    """Read a JSON file; a `StorageError` names a file that is not JSON."""
    try:
        return json.loads(read_bytes(url))
    except ValueError as fault:
        raise StorageError(f"{url} is not valid JSON ({fault}): remove it and run the same command again") from fault


def read_bytes(url: str) -> bytes:
    """The whole content of a (small) file."""
    with open_binary(url) as file:
        return file.read()


def open_binary(url: str) -> IO[bytes]:
    """Open a file for reading, as it is (no decompression)."""
    with explained(url, "read"):
        if is_local(url):
            return open(local_path(url), "rb")
        filesystem, path = filesystem_of(url)
        file: IO[bytes] = filesystem.open(path, "rb")
        return file


def exists(url: str) -> bool:
    """Whether a file or folder is there."""
    if is_local(url):
        return local_path(url).exists()
    filesystem, path = filesystem_of(url)
    return bool(filesystem.exists(path))


def list_names(url: str) -> list[str]:
    """The sorted names directly inside a folder; empty when there is no such folder."""
    if is_local(url):
        folder = local_path(url)
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    filesystem, path = filesystem_of(url)
    if not filesystem.exists(path):
        return []
    return sorted(name_of(entry) for entry in filesystem.ls(path, detail=False, refresh=True))


def remove(url: str) -> None:
    """Remove a file or a whole folder; nothing happens when it is not there."""
    if exists(url):
        filesystem, path = filesystem_of(url)
        filesystem.rm(path, recursive=True)


def size_of(url: str) -> int:
    """Size of a file in bytes."""
    if is_local(url):
        return local_path(url).stat().st_size
    filesystem, path = filesystem_of(url)
    return int(filesystem.size(path))


def stamp_of(url: str) -> str:
    """What identifies a file's present content without reading it: size and time, or the store's ETag."""
    if is_local(url):
        status = local_path(url).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"
    filesystem, path = filesystem_of(url)
    details = filesystem.info(path)
    tag = details.get("ETag") or details.get("etag") or details.get("LastModified") or details.get("created")
    return f"{details.get('size')}-{tag}"


def sha256_of(url: str) -> str:
    """SHA-256 of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with open_binary(url) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remove_leftovers(directory: str) -> None:
    """Remove temporary files that a killed process left anywhere below a folder of the local disk."""
    if is_local(directory):
        for entry in list(local_path(directory).rglob(f"{_TEMPORARY_PREFIX}*")):
            entry.unlink(missing_ok=True)
