"""Shards of an object store, kept on this machine's disk once they were read.

A shard is fetched whole when one of its rows is asked for the first time, checked by its SHA-256, and appears under
that hash or not at all; processes of one machine share the folder, and one of them fetches. A stamp (size and
modification time) beside the file remembers that it passed, so that it is hashed again only when it was changed. What
was used longest ago goes when the folder would grow beyond its limit; a process that still maps such a file reads on,
and the disk is free again once it fetches another.

A dataset larger than the cache is read all the same, but rows come in random order, so nearly every row costs a
fetch: make the cache as large as the data, or copy it to a file system.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import storage
from pipeline.errors import UserError

BLOCK = 1 << 20


class ShardCache:
    """A folder of shards of at most so many bytes, and one more for each process that fetches at the same moment."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit

    def file(self, url: str, sha256: str) -> Path:
        """The shard's file on this machine, fetched if it is not there or was changed.

        Raises:
            UserError: what the store holds is not what `tokens.json` lists, or is larger than the cache.
        """
        path = self.folder / f"{sha256}.arrow"
        with self._locked(f"{sha256}.lock"):
            if not self._is_sound(path, sha256):
                self._fetch(url, sha256, path)
            os.utime(_stamp_file(path))
        return path

    def _is_sound(self, path: Path, sha256: str) -> bool:
        if not path.exists():
            return False
        stamp, content = _stamp_file(path), storage.stamp_of(str(path))
        if stamp.exists() and stamp.read_text(encoding="utf-8") == content:
            return True
        if storage.sha256_of(str(path)) != sha256:
            return False
        stamp.write_text(content, encoding="utf-8")
        return True

    def _fetch(self, url: str, sha256: str, path: Path) -> None:
        try:
            size = storage.size_of(url)
        except FileNotFoundError:
            raise UserError(f"{url} does not exist, but tokens.json lists it: make the tokens again") from None
        if size > self.limit:
            raise UserError(
                f"{url} has {size:,} bytes, the cache {self.folder} holds {self.limit:,}: raise "
                "pretrain.shard_cache_bytes"
            )
        for leftover in self.folder.glob(f".tmp-{path.name}-*"):
            leftover.unlink()  # of a process that was killed: who holds the lock writes alone
        self._make_room(size, path)
        digest = hashlib.sha256()
        # Written atomically: the wrong content is never there under this name.
        with storage.write_atomically(str(path)) as file, storage.open_binary(url) as source:
            while block := source.read(BLOCK):
                digest.update(block)
                file.write(block)
            if digest.hexdigest() != sha256:
                raise UserError(
                    f"{url} does not have the sha256 that tokens.json gives, it is damaged: remove it and make the "
                    "tokens again"
                )
        _stamp_file(path).write_text(storage.stamp_of(str(path)), encoding="utf-8")

    def _make_room(self, size: int, wanted: Path) -> None:
        """Remove what was used longest ago until `size` more bytes fit."""
        with self._locked("room.lock"):
            kept = [path for path in self.folder.glob("*.arrow") if path != wanted]
            sizes = {path: path.stat().st_size for path in kept}
            total = sum(sizes.values())
            for path in sorted(kept, key=lambda path: (_used(path), path.name)):
                if total + size <= self.limit:
                    return
                path.unlink(missing_ok=True)
                _stamp_file(path).unlink(missing_ok=True)
                total -= sizes[path]

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """One process of this machine at a time; the kernel's lock ends with its holder, however that dies."""
        with storage.explained(str(self.folder), "write"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / name).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield


def cache_folder(given: str | None) -> Path:
    """The folder of the recipe, or one below the user's cache folder."""
    if given is not None:
        return storage.local_path(storage.absolute(given))
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "gptmill", "shards")


def _stamp_file(path: Path) -> Path:
    """Its content says which file passed, its time when the file was last used."""
    return path.with_suffix(".stamp")


def _used(path: Path) -> float:
    stamp = _stamp_file(path)
    return stamp.stat().st_mtime if stamp.exists() else 0.0
