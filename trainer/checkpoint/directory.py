"""Checkpoints on disk: what makes one whole, which one is the newest whole one, which ones may go.

    checkpoints/
      latest                  name of the newest, moved by an atomic rename; for people and tools
      step_00001000/
        deepspeed/            DeepSpeed's own files, one or more a process
        trainer.json          step, tokens, fingerprints, layout, hash of the next batch
        COMPLETE              written last: size and SHA-256 of every other file

A checkpoint is written under a temporary name and renamed when COMPLETE is on disk, so a directory that bears the
name of a step is whole, unless something damaged it later: that, the checksums find. DeepSpeed's own `latest` file is
not used: it names checkpoints that another process has not finished. Cost of a check: reading the files once.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from pipeline import storage

COMPLETE = "COMPLETE"
LATEST = "latest"
STATE = "trainer.json"
_TEMPORARY = ".tmp-"
_PREFIX = "step_"


def checkpoint_name(step: int) -> str:
    """Directory name of the checkpoint after `step` steps."""
    return f"{_PREFIX}{step:08d}"


def temporary_directory(checkpoints: Path, step: int) -> Path:
    """Where a checkpoint is written before it is whole."""
    return checkpoints / f"{_TEMPORARY}{checkpoint_name(step)}"


def list_checkpoints(checkpoints: Path) -> list[Path]:
    """The checkpoints that bear a step's name, newest first."""
    return sorted((path for path in checkpoints.glob(f"{_PREFIX}*") if path.is_dir()), reverse=True)


def publish(temporary: Path, step: int) -> Path:
    """Seal a written checkpoint: checksums, COMPLETE, rename, `latest`. Returns its directory."""
    checkpoints = temporary.parent
    files = {
        str(path.relative_to(temporary)): {"size": path.stat().st_size, "sha256": storage.sha256_of(str(path))}
        for path in _files(temporary)
    }
    for name in files:
        _flush(temporary / name)
    storage.write_json(str(temporary / COMPLETE), {"files": files})
    _flush(temporary)
    final = checkpoints / checkpoint_name(step)
    if final.exists():
        _remove(final)
    temporary.rename(final)
    _flush(checkpoints)
    with storage.write_atomically(str(checkpoints / LATEST)) as file:
        file.write(final.name.encode() + b"\n")
    return final


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None when every file is as it was written."""
    try:
        files = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return f"{COMPLETE} is missing"
    except (ValueError, KeyError, TypeError):
        return f"{COMPLETE} is not readable"
    for name, expected in files.items():
        path = checkpoint / name
        if not path.exists():
            return f"{name} is missing"
        size = path.stat().st_size
        if size != expected["size"]:
            return f"{name} has {size} bytes instead of {expected['size']}"
        if storage.sha256_of(str(path)) != expected["sha256"]:
            return f"{name} has other content than was written"
    return None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The content of trainer.json."""
    state: dict[str, Any] = storage.read_json(str(checkpoint / STATE))
    return state


def prune(checkpoints: Path, keep: int) -> None:
    """Remove all but the newest checkpoints, and what killed processes left."""
    for path in list_checkpoints(checkpoints)[keep:]:
        _remove(path)
    remove_temporary(checkpoints)


def remove_temporary(checkpoints: Path) -> None:
    """Remove unfinished checkpoints."""
    for path in checkpoints.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _remove(checkpoint: Path) -> None:
    """A name first, then the files: half a removed checkpoint must not look like a whole one."""
    going = checkpoint.with_name(f"{_TEMPORARY}removed-{checkpoint.name}")
    checkpoint.rename(going)
    shutil.rmtree(going)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file() and path.name != COMPLETE)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
