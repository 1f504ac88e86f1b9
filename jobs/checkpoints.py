"""`gptmill checkpoints` and `gptmill reshape`: what a run has saved, whether it is whole, and writing it otherwise.

Needs neither torch nor the run's data. A checkpoint is always compared with its seal (names, sizes, index); with
`--verify` every file is read and its checksum compared too. Exit code 1 when one is damaged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.terminal import done, duration, failed, note, show_table, shown, size
from pipeline import storage
from pipeline.errors import SettingError, UserError
from trainer.checkpoint import directory as on_disk
from trainer.checkpoint.index import read_index
from trainer.checkpoint.reshape import layout_of_world, reshape
from trainer.checkpoint.seal import COMPLETE, damage

_STEPS = ("pretrain", "finetune")
_FOLDER = "checkpoints"
_AXES = ("data", "tensor", "pipeline")


@dataclass(frozen=True)
class Found:
    """A checkpoint as the table shows it."""

    path: Path
    step: int
    problem: str | None
    state: dict[str, Any]

    @property
    def is_permanent(self) -> bool:
        """Whether pruning leaves it, by the recipe that it was made with."""
        return on_disk.is_permanent(self.step, int(self.state.get("recipe", {}).get("settings.keep_every") or 0))


def show_checkpoints(place: str, verify: bool, prune: bool, keep: int | None) -> int:
    """List a run's checkpoints, after removing old ones where asked to; the exit code.

    Raises:
        SettingError: there is no such run, or `keep` without `prune`.
    """
    if keep is not None and not prune:
        raise SettingError("--keep says how many --prune leaves: give both")
    whole = True
    for folder in checkpoint_folders(place):
        if prune:
            _prune(folder, keep)
        found = [_look_at(path, verify) for path in on_disk.list_checkpoints(folder)]
        whole &= all(one.problem is None for one in found)
        if not found:
            note(f"{shown(str(folder))} has no checkpoint")
            continue
        columns = ("step", "written", "size", "data x tensor\nx pipeline", "bytes a\nparameter", "kept", "state")
        show_table(shown(str(folder)), columns, [_row(one, verify) for one in found])
        for one in found:
            if one.problem is not None:
                failed(f"{shown(str(one.path))} is damaged: {one.problem}")
    return 0 if whole else 1


def reshape_checkpoint(checkpoint: str, parallel: str, zero: int, output: str | None) -> None:
    """Write a checkpoint for another layout and say what was compared.

    Raises:
        SettingError: `parallel` is not of the form data=1,tensor=2,pipeline=2.
        UserError: the checkpoint is damaged or cannot be cut that way.
    """
    path = a_checkpoint(checkpoint)
    sizes = _parse_parallel(parallel)
    layout = layout_of_world(sizes["data"], sizes["tensor"], sizes["pipeline"], zero)
    name = "-".join(f"{axis}{sizes[axis]}" for axis in _AXES)
    target = Path(output) if output else path.parent.with_name(f"{path.parent.name}-{name}-zero{zero}")
    result = reshape(path, layout, target, tell=note)
    done(
        "reshape",
        f"{shown(str(result.path))}: {size(result.bytes)} in {duration(result.seconds)} "
        f"({size(result.bytes / result.seconds)}/s); {result.tensors} tensors have the hashes they had, "
        f"state {result.state_sha256[:16]}",
    )
    note("resuming in another layout reads any checkpoint: to go on from this one, put it in the run's checkpoints/")


def checkpoint_folders(place: str) -> list[Path]:
    """The folders of checkpoints of a run, of one of its training directories, or the folder itself.

    Raises:
        SettingError: there is none.
    """
    if not storage.is_local(place):
        raise SettingError(f"{place}: checkpoints are looked at on this machine's disks: give a local path")
    path = storage.local_path(place)
    if not path.is_dir():
        raise SettingError(f"{place} does not exist")
    choices = [path / step / _FOLDER for step in _STEPS] + [path / _FOLDER]
    found = [choice for choice in choices if choice.is_dir()]
    if not found and (path.name.startswith(_FOLDER) or on_disk.list_checkpoints(path)):
        found = [path]
    if not found:
        raise SettingError(f"{place} has no checkpoints: give a run, its pretrain or finetune folder, or checkpoints/")
    return found


def a_checkpoint(place: str) -> Path:
    """A checkpoint's directory, or the newest one of a run.

    Raises:
        SettingError: there is none.
    """
    path = storage.local_path(place)
    if on_disk.step_of(path.name) is not None and path.is_dir():
        return path
    for folder in checkpoint_folders(place):
        if found := on_disk.list_checkpoints(folder):
            return found[0]
    raise SettingError(f"{place} has no checkpoint yet")


def _look_at(path: Path, verify: bool) -> Found:
    step = on_disk.step_of(path.name)
    assert step is not None
    problem = damage(path) if verify else damage(path, only=())
    try:
        state = on_disk.read_state(path)
    except (OSError, ValueError):
        state = {}
    return Found(path, step, problem, state if isinstance(state, dict) else {})


def _row(found: Found, verified: bool) -> tuple[str, ...]:
    total = sum(file.stat().st_size for file in found.path.rglob("*") if file.is_file())
    layout = found.state.get("layout", {})
    seal = found.path / COMPLETE
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(seal.stat().st_mtime)) if seal.exists() else "?"
    try:
        ratio = f"{total / read_index(found.path).parameters:.2f}"
    except (OSError, ValueError, ZeroDivisionError):
        ratio = "?"
    whole = "whole" if verified else "sizes fit"
    return (
        str(found.step),
        written,
        size(total),
        layout_text(layout),
        ratio,
        "for ever" if found.is_permanent else "",
        whole if found.problem is None else "DAMAGED",
    )


def layout_text(layout: dict[str, Any]) -> str:
    """A layout in a few letters: data x tensor x pipeline, and the ZeRO stage."""
    if not layout:
        return "?"
    sizes = " x ".join(str(layout.get(f"parallel.{axis}", "?")) for axis in _AXES)
    return f"{sizes}, ZeRO {layout.get('zero', '?')}"


def _prune(folder: Path, keep: int | None) -> None:
    newest = next(iter(on_disk.list_checkpoints(folder)), None)
    if newest is None:
        return
    found = _look_at(newest, verify=True)
    if found.problem is not None:
        raise UserError(f"{newest} is damaged ({found.problem}): nothing is pruned while the newest is not whole")
    recipe = found.state.get("recipe", {})
    keep_last = keep if keep is not None else int(recipe.get("settings.keep_last", 2))
    removed = on_disk.prune(folder, keep_last, int(recipe.get("settings.keep_every") or 0))
    names = ", ".join(path.name for path in removed)
    done("pruned", f"{shown(str(folder))}: {names or 'nothing to remove'}")


def _parse_parallel(text: str) -> dict[str, int]:
    sizes = dict.fromkeys(_AXES, 1)
    given: Sequence[str] = [part for part in text.replace(" ", "").split(",") if part]
    for part in given:
        axis, _, value = part.partition("=")
        if axis not in sizes or not value.isdecimal() or int(value) < 1:
            raise SettingError(f"--parallel {text}: write it as data=2,tensor=1,pipeline=2, each 1 or more")
        sizes[axis] = int(value)
    return sizes
