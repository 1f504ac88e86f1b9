"""Checkpoints on disk: their names, which is the newest, how one appears and how old ones go.

    checkpoints/
      latest                         name of the newest, moved by an atomic rename; for people and tools
      step_00001000/
        state/rank_00000.safetensors the pieces of that process, fp32
        index.json                   which piece of which tensor lies where
        trainer.json                 step, tokens, fingerprints, layout, hash of the next batch
        COMPLETE                     written last: size and SHA-256 of every other file

A checkpoint is written under a temporary name and renamed when COMPLETE is on disk, so a directory that bears the
name of a step is whole, unless something damaged it later: that, the checksums find (`trainer.checkpoint.seal`).
"""

import json
import os
import shutil
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import UserError
from trainer.checkpoint.seal import STATE, checkpoint_name, files_of, write_seal

FORMAT_VERSION = 2
"""Of the directory: 1 had DeepSpeed's own files."""
LATEST = "latest"
TEMPORARY = ".tmp-"
_PREFIX = "step_"


def temporary_directory(checkpoints: Path, step: int, attempt: str = "0") -> Path:
    """Where a checkpoint is written before it is whole; each attempt has a place of its own."""
    return checkpoints / f"{TEMPORARY}{checkpoint_name(step)}-{attempt}"


def list_checkpoints(checkpoints: Path) -> list[Path]:
    """The checkpoints that bear a step's name, newest first."""
    found = {path: step_of(path.name) for path in checkpoints.glob(f"{_PREFIX}*") if path.is_dir()}
    return sorted((path for path, step in found.items() if step is not None), key=lambda path: -(found[path] or 0))


def all_damaged(checkpoints: Path) -> UserError:
    """The error of a run that has checkpoints and none that is whole."""
    return UserError(f"all checkpoints in {checkpoints} are damaged: remove the directory to start from the beginning")


def step_of(name: str) -> int | None:
    """The step that a checkpoint's directory is named by; None for other names."""
    number = name.removeprefix(_PREFIX)
    return int(number) if number.isdecimal() and checkpoint_name(int(number)) == name else None


def is_permanent(step: int, keep_every: int) -> bool:
    """Whether a checkpoint is kept for ever."""
    return keep_every > 0 and step % keep_every == 0


def publish(temporary: Path, step: int, known: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Seal a written checkpoint: checksums, COMPLETE, rename, `latest`. Returns its directory.

    `known` has size and sha256 of files that were hashed when they were written, and flushed; others are read.
    """
    checkpoints = temporary.parent
    files: dict[str, Mapping[str, Any]] = dict(known or {})
    for name in files_of(temporary):
        if name not in files:
            path = temporary / name
            files[name] = {"size": path.stat().st_size, "sha256": storage.sha256_of(str(path))}
            flush(path)
    for folder in {(temporary / name).parent for name in files} - {temporary}:
        flush(folder)
    write_seal(temporary, step, files)
    flush(temporary)
    final = checkpoints / checkpoint_name(step)
    if final.exists():
        remove(final)
    temporary.rename(final)
    flush(checkpoints)
    with storage.write_atomically(str(checkpoints / LATEST)) as file:
        file.write(final.name.encode() + b"\n")
    flush(checkpoints)
    return final


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The content of trainer.json."""
    state: dict[str, Any] = json.loads((checkpoint / STATE).read_bytes())
    return state


def why_not_this_version(checkpoint: Path, state: Mapping[str, Any]) -> str | None:
    """Why the content of trainer.json cannot be gone on from by this version, or None."""
    if (version := state.get("format_version")) != FORMAT_VERSION:
        return (
            f"{checkpoint} has format {version}, this version of gptmill reads {FORMAT_VERSION}: go on with the "
            "version that wrote it, or remove it"
        )
    if state["step"] != step_of(checkpoint.name):
        return f"{checkpoint} holds step {state['step']}, its name says another: remove it"
    return None


def prune(
    checkpoints: Path, keep_last: int, keep_every: int = 0, spare: Container[str] = (), newest: int | None = None
) -> list[Path]:
    """Remove all but the newest `keep_last` checkpoints, the permanent ones and those named in `spare`.

    Checkpoints of steps after `newest`, the one just written, go too: they are damaged, or of a way that was left in
    a rollback, and would count as the newest. Returns those removed.
    """
    removed, kept = [], 0
    for path in list_checkpoints(checkpoints):
        step = step_of(path.name) or 0
        if newest is not None and step > newest:
            remove(path)
            removed.append(path)
            continue
        kept += 1
        if kept > keep_last and not is_permanent(step, keep_every) and path.name not in spare:
            remove(path)
            removed.append(path)
    return removed


def remove_temporary(checkpoints: Path) -> None:
    """Remove what killed processes left: unfinished and half removed checkpoints."""
    for path in checkpoints.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def remove(checkpoint: Path) -> None:
    """A name first, then the files: half a removed checkpoint must not look like a whole one."""
    going = checkpoint.with_name(f"{TEMPORARY}removed-{checkpoint.name}")
    shutil.rmtree(going, ignore_errors=True)
    checkpoint.rename(going)
    shutil.rmtree(going)


def flush(path: Path) -> None:
    """Have a file or folder reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
