"""A run's directory: who may work in it, what was asked for, and where each step keeps its files.

Decisions: one job at a time. On local disk the lock is the kernel's (`flock`), so it ends with its holder however
that dies; on an object store it is an object that names its holder, and a job that was killed leaves it behind to be
removed by hand. The recipe as given, as resolved, the overrides and the environment are saved before any work.
"""

from __future__ import annotations

import datetime
import fcntl
import getpass
import json
import os
import platform
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import yaml

from jobs.recipe import LoadedRecipe
from pipeline import storage
from pipeline.errors import UserError

LOCK = ".lock"
_PACKAGES = ("gptmill", "ray", "pyarrow", "tokenizers", "datasketch", "numpy", "torch", "deepspeed")


@dataclass(frozen=True)
class RunDirectory:
    """Paths of a run."""

    url: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", storage.absolute(self.url))

    def path(self, *parts: str) -> str:
        """A path inside the run."""
        return storage.join(self.url, *parts)

    @property
    def corpus(self) -> str:
        """Stage directories of the corpus."""
        return self.path("corpus")

    @property
    def tokenizer(self) -> str:
        """Tokenizer and its report."""
        return self.path("tokenizer")

    @property
    def tokens(self) -> str:
        """The token dataset."""
        return self.path("tokens")

    @property
    def pretrain(self) -> str:
        """Pretraining: metrics, checkpoints, model."""
        return self.path("pretrain")

    @property
    def instructions(self) -> str:
        """Conversations made from the corpus."""
        return self.path("instructions")

    @property
    def finetune(self) -> str:
        """Finetuning: data, metrics, checkpoints, model."""
        return self.path("finetune")

    def save_recipe(self, loaded: LoadedRecipe) -> None:
        """Save what was asked for and where it runs."""
        _write_text(self.path("recipe.yaml"), loaded.text)
        _write_text(self.path("resolved.yaml"), yaml.safe_dump(loaded.resolved, sort_keys=False, allow_unicode=True))
        _write_text(self.path("overrides.yaml"), yaml.safe_dump(loaded.overrides, allow_unicode=True))
        storage.write_json(self.path("environment.json"), environment())

    def event(self, kind: str, **values: Any) -> None:
        """Append a line to the run's log of events (local runs only: object stores cannot append)."""
        if storage.is_local(self.url):
            line = {"time": _now(), "event": kind, **values}
            with storage.local_path(self.path("events.jsonl")).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def environment() -> dict[str, Any]:
    """Versions and machine, for whoever must reproduce the run."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "command": sys.argv,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _write_text(path: str, text: str) -> None:
    with storage.write_atomically(path) as file:
        file.write(text.encode())


def _holder() -> dict[str, Any]:
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "user": getpass.getuser(),
        "command": " ".join(["gptmill", *sys.argv[1:]]),
        "since": _now(),
    }


def _named(holder: dict[str, Any]) -> str:
    return (
        f"process {holder.get('process')} of {holder.get('user')} on {holder.get('host')} "
        f"since {holder.get('since')} (`{holder.get('command')}`)"
    )


@contextmanager
def locked(run: RunDirectory) -> Iterator[None]:
    """Hold the run directory for this job.

    Raises:
        UserError: another job holds it; the message names it.
        StorageError: the directory cannot be written.
    """
    path = run.path(LOCK)
    if not storage.is_local(run.url):
        with _locked_object(path):
            yield
        return
    with storage.explained(path, "write"):
        storage.local_path(run.url).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(storage.local_path(path), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise UserError(
                f"{run.url} is in use by {_held_by(os.read(descriptor, 10_000))}: "
                "wait for it to end, or choose another `run:`"
            ) from fault
        with storage.explained(path, "write"):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(_holder()).encode())
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _held_by(content: bytes) -> str:
    try:
        return _named(json.loads(content))
    except ValueError:
        return "another job"


@contextmanager
def _locked_object(path: str) -> Iterator[None]:
    if storage.exists(path):
        raise UserError(
            f"{path}: in use by {_held_by(storage.read_bytes(path))}: wait for it to end; "
            "if that job is dead, remove this object"
        )
    storage.write_json(path, _holder())
    try:
        yield
    finally:
        storage.remove(path)
