"""Do all processes of a run have the same programs, the same recipe, the same data? Asked before anything is built.

Each process puts what it is into the store through which the processes meet; the first compares and tells all. That is
before any collective, which would hang or crash where library versions differ, and before the model. A run whose
processes differ would not fail: it would train something that nobody asked for.

Cost: one message of some kilobytes a process; reading our own sources takes about ten milliseconds.
"""

import hashlib
import json
import os
import platform
import socket
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import UserError
from trainer.changes import recipe_of
from trainer.identity import Inputs

LIBRARIES = ("gptmill", "torch", "deepspeed", "numpy")
_SHOWN = 6


class Store(Protocol):
    """What torch.distributed's stores do: a shared dictionary; `get` waits until there is a value."""

    def set(self, key: str, value: str) -> Any:
        """Set a value."""

    def get(self, key: str) -> bytes:
        """Wait for a value."""


def description(inputs: Inputs, world: int) -> dict[str, str]:
    """Name -> value of all in which the processes of a run must agree."""
    return {
        **{f"version of {name}": _version(name) for name in LIBRARIES},
        "version of python": platform.python_version(),
        "source code of gptmill": _code_digest(),
        "number of processes": str(world),
        **{name: json.dumps(value, sort_keys=True) for name, value in recipe_of(inputs.job).items()},
        **{name: json.dumps(value, sort_keys=True) for name, value in inputs.identity.items()},
    }


def require_same(store: Store, rank: int, world: int, own: dict[str, str]) -> None:
    """Compare the descriptions of all processes.

    Raises:
        UserError: they differ; the message, the same on all, names the processes and both values.
    """
    prefix = f"gptmill/consistency/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    store.set(f"{prefix}/{rank}", json.dumps({"host": socket.gethostname(), "values": own}))
    if rank == 0:
        given = [json.loads(store.get(f"{prefix}/{other}")) for other in range(world)]
        found = difference([entry["values"] for entry in given], [entry["host"] for entry in given])
        store.set(f"{prefix}/verdict", json.dumps(found))
    if verdict := json.loads(store.get(f"{prefix}/verdict")):
        store.set(f"{prefix}/heard/{rank}", "")
        if rank == 0:  # its end is the end of the store
            for other in range(world):
                store.get(f"{prefix}/heard/{other}")
        raise UserError(verdict)


def difference(descriptions: list[dict[str, str]], hosts: list[str]) -> str | None:
    """What the user is told of processes that differ; None when all are the same.

    Right is what most have, and in a tie what the first has.
    """
    named = []
    for name in sorted({name for values in descriptions for name in values}):
        values = [entry.get(name, "(missing)") for entry in descriptions]
        counts = Counter(values)
        if len(counts) == 1:
            continue
        common = max(counts, key=lambda value: (counts[value], value == values[0]))
        odd = [rank for rank, value in enumerate(values) if value != common]
        who = ", ".join(f"{rank} ({hosts[rank]})" for rank in odd[:_SHOWN])
        more = f" and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
        named.append(f"{name} is {values[odd[0]]} on rank {who}{more}, {common} on the others")
    if not named:
        return None
    more = f"; and {len(named) - _SHOWN} more differences" if len(named) > _SHOWN else ""
    return (
        f"the processes of this run are not alike: {'; '.join(named[:_SHOWN])}{more}. "
        "Install the same versions everywhere and start all processes with the same recipe"
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _code_digest() -> str:
    """Of the trainer's sources: versions do not tell two work trees apart."""
    hashed = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        hashed.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return hashed.hexdigest()[:16]
