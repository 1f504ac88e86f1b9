"""COMPLETE: the list of a checkpoint's files with sizes and checksums, written last, and the check against it.

COMPLETE also bears the checksum of its own content, so that a flipped bit in it is told apart from a damaged file, and
must list just the files that are there and all that the index needs: a list that names fewer, or other ones, is as bad
as none. Cost of a check: reading the files once, several at a time (hashing leaves Python's lock).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline import storage
from trainer.checkpoint.index import INDEX, read_index

COMPLETE = "COMPLETE"
STATE = "trainer.json"
"""What is saved beside the tensors: how far the run is, and of which run."""
_THREADS = 4


def files_of(directory: Path) -> list[str]:
    """The names of all files of a checkpoint but COMPLETE, sorted."""
    return sorted(
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and path.name != COMPLETE
    )


def write_seal(directory: Path, step: int, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write COMPLETE; `files` has size and sha256 of each file."""
    content = {"step": step, "files": files}
    storage.write_json(str(directory / COMPLETE), {**content, "sha256": _own_checksum(content)})


def read_seal(checkpoint: Path) -> dict[str, Any]:
    """The content of COMPLETE; raises ValueError saying what is wrong with it."""
    try:
        text = (checkpoint / COMPLETE).read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{COMPLETE} is missing") from None
    try:
        seal: dict[str, Any] = json.loads(text)
        content = {"step": seal["step"], "files": seal["files"]}
        for expected in seal["files"].values():
            expected["size"], expected["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{COMPLETE} is not readable") from None
    if seal.get("sha256") != _own_checksum(content):
        raise ValueError(f"{COMPLETE} has other content than was written")
    return seal


def damage(checkpoint: Path, only: Iterable[str] | None = None) -> str | None:
    """What is wrong with a checkpoint, or None when every file is as it was written.

    `only` limits the reading of contents to these files; sizes and names are always compared.
    """
    try:
        seal = read_seal(checkpoint)
    except ValueError as fault:
        return str(fault)
    files, found = seal["files"], set(files_of(checkpoint))
    if checkpoint.name != (name := checkpoint_name(seal["step"])):
        return f"{COMPLETE} is that of {name}"
    for file in sorted({INDEX, STATE} - files.keys()):
        return f"{COMPLETE} does not list {file}"
    for file in sorted(files.keys() - found):
        return f"{file} is missing"
    for file in sorted(found - files.keys()):
        return f"{file} is not listed in {COMPLETE}"
    for file, expected in sorted(files.items()):
        if (size := (checkpoint / file).stat().st_size) != expected["size"]:
            return f"{file} has {size} bytes instead of {expected['size']}"
    chosen = sorted(files if only is None else set(only) & files.keys())
    with ThreadPoolExecutor(_THREADS) as pool:
        sums = pool.map(lambda file: storage.sha256_of(str(checkpoint / file)), chosen)
        for file, checksum in zip(chosen, sums, strict=True):
            if checksum != files[file]["sha256"]:
                return f"{file} has other content than was written"
    try:
        needed = read_index(checkpoint).files()
    except ValueError as fault:
        return str(fault)
    for file in sorted(needed - files.keys()):
        return f"{file}, which {INDEX} needs, is not listed in {COMPLETE}"
    return None


def checkpoint_name(step: int) -> str:
    """Directory name of the checkpoint after `step` steps."""
    return f"step_{step:08d}"


def _own_checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
