"""Copies of finished checkpoints elsewhere: another disk, or any fsspec URL; and getting one back.

One thread of the first process copies; training and saving never wait for it. Files go first and COMPLETE last, so a
copy that was cut off is none; pruning takes COMPLETE away first, for the same reason. A copy that fails is tried again,
then told as a warning and made good with the next checkpoint; at the end of a run it is an error. A run that finds no
checkpoint on its own disk fetches the newest whole copy, checks it as any other, and goes on from there.
"""

import queue
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipeline import storage
from pipeline.errors import UserError
from trainer.checkpoint import directory as on_disk
from trainer.checkpoint.seal import COMPLETE, damage, files_of

ATTEMPTS = 4
FIRST_WAIT_SECONDS = 1.0
"""Before the second attempt; doubled after each."""
_PROBE = ".tmp-can-be-written"


class CheckpointCopies:
    """Copies checkpoints to a place, in the background."""

    def __init__(self, url: str, keep_last: int, keep_every: int = 0) -> None:
        self.url = storage.absolute(url)
        self.keep_last, self.keep_every = keep_last, keep_every
        self._queue: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._waiting: dict[str, None] = {}
        self._messages: list[str] = []
        self._problem: str | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, checkpoint: Path) -> None:
        """Copy a published checkpoint, after those that wait already."""
        with self._lock:
            self._waiting[checkpoint.name] = None
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="checkpoint copies", daemon=True)
            self._thread.start()
        self._queue.put(checkpoint)

    def waiting(self) -> list[str]:
        """Names of the checkpoints that are not copied yet, and must not go."""
        with self._lock:
            return list(self._waiting)

    def messages(self) -> list[str]:
        """What went wrong since the last call."""
        with self._lock:
            told, self._messages = self._messages, []
        return told

    def close(self) -> str | None:
        """Wait for all copies; returns why the last one is not there, or None when it is."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        return self._problem

    def _work(self) -> None:
        while (checkpoint := self._queue.get()) is not None:
            self._problem = None
            try:
                _repeat(lambda found=checkpoint: copy_checkpoint(found, self.url))  # type: ignore[misc]
                prune_copies(self.url, self.keep_last, self.keep_every)
            except Exception as fault:
                self._problem = (
                    f"{checkpoint} could not be copied to {self.url} in {ATTEMPTS} attempts "
                    f"({type(fault).__name__}: {fault}): see that the place can be written to and has space"
                )
            with self._lock:
                self._waiting.pop(checkpoint.name, None)
                if self._problem is not None:
                    self._messages.append(self._problem)


def require_place(key: str, url: str) -> None:
    """Write a small file into the folder that copies go to, and remove it: the first copy may be due hours later.

    Raises:
        UserError: that failed; names the key of the recipe and the place.
    """
    probe = storage.join(storage.absolute(url), _PROBE)
    try:
        with storage.write_atomically(probe) as file:
            file.write(b"gptmill sees whether checkpoints can be copied here\n")
        storage.remove(probe)
    except Exception as fault:
        raise UserError(
            f"{key}: {url} cannot be written to ({type(fault).__name__}: {fault}): mend the place or its credentials, "
            "or name another one"
        ) from fault


def copy_checkpoint(checkpoint: Path, url: str) -> None:
    """Copy a whole checkpoint into the folder `url`; a copy that is there and whole is left alone."""
    target = storage.join(url, checkpoint.name)
    seal = (checkpoint / COMPLETE).read_bytes()
    if storage.exists(storage.join(target, COMPLETE)):
        if storage.read_bytes(storage.join(target, COMPLETE)) == seal:
            return
        storage.remove(storage.join(target, COMPLETE))
    for name in files_of(checkpoint):
        _put(checkpoint / name, storage.join(target, name))
    _put(checkpoint / COMPLETE, storage.join(target, COMPLETE))
    with storage.write_atomically(storage.join(url, on_disk.LATEST)) as file:
        file.write(checkpoint.name.encode() + b"\n")


def list_copies(url: str) -> list[str]:
    """Names of the whole copies in a folder, newest first."""
    found = [
        name
        for name in storage.list_names(url)
        if on_disk.step_of(name) is not None and storage.exists(storage.join(url, name, COMPLETE))
    ]
    return sorted(found, key=lambda name: -(on_disk.step_of(name) or 0))


def prune_copies(url: str, keep_last: int, keep_every: int) -> None:
    """Remove all but the newest copies and the permanent ones."""
    for name in list_copies(url)[keep_last:]:
        if not on_disk.is_permanent(on_disk.step_of(name) or 0, keep_every):
            storage.remove(storage.join(url, name, COMPLETE))
            storage.remove(storage.join(url, name))


def fetch_newest(url: str, checkpoints: Path, warn: Callable[[str], None]) -> Path | None:
    """Bring the newest copy that is as it was written into the folder of checkpoints; None when there is none."""
    url = storage.absolute(url)
    names = list_copies(url)
    for name in names:
        temporary = checkpoints / f"{on_disk.TEMPORARY}fetched" / name
        shutil.rmtree(temporary.parent, ignore_errors=True)
        temporary.mkdir(parents=True)
        _repeat(lambda name=name, temporary=temporary: _get(storage.join(url, name), temporary))  # type: ignore[misc]
        problem = damage(temporary)
        if problem is None:
            for file in [*files_of(temporary), COMPLETE]:
                on_disk.flush(temporary / file)
            on_disk.flush(temporary)
            final = checkpoints / name
            temporary.rename(final)
            temporary.parent.rmdir()
            on_disk.flush(checkpoints)
            return final
        shutil.rmtree(temporary.parent)
        then = "using the one before it" if name != names[-1] else "there is none before it"
        warn(f"the copy {storage.join(url, name)} is damaged ({problem}): {then}")
    return None


def _repeat(action: Callable[[], None]) -> None:
    for attempt in range(ATTEMPTS):
        try:
            action()
            return
        except Exception:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt)


def _put(path: Path, url: str) -> None:
    if storage.is_local(url):
        with path.open("rb") as source, storage.write_atomically(url) as target:
            shutil.copyfileobj(source, target, 1 << 20)
    else:
        filesystem, place = storage.filesystem_of(url)
        filesystem.put_file(str(path), place)
    if (size := storage.size_of(url)) != path.stat().st_size:
        raise OSError(f"{url} has {size} bytes instead of {path.stat().st_size}")


def _get(url: str, directory: Path) -> None:
    filesystem, place = storage.filesystem_of(url)
    for found in filesystem.find(place):
        target = directory / str(found)[len(str(place).rstrip("/")) :].lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        filesystem.get_file(found, str(target))
