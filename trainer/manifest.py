"""The last file of a training directory: what was trained, from what, with which result.

A run whose manifest bears the fingerprint of the job is finished and is not run again. A finished run of another
fingerprint is put aside, with its model and curves, before its place is taken.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from trainer.checkpoint.directory import list_checkpoints
from trainer.identity import Inputs
from trainer.logging.journal import EVENTS, METRICS, SAMPLES
from trainer.logging.loggers import WRITTEN_BY_LOGGERS

MANIFEST = "manifest.json"
MODEL = "model"
CHECKPOINTS = "checkpoints"
_OF_A_FINISHED_RUN = (MODEL, METRICS, EVENTS, SAMPLES, *WRITTEN_BY_LOGGERS, MANIFEST)


def finished_manifest(inputs: Inputs) -> dict[str, Any] | None:
    """The manifest, when this very job is finished and its model is there."""
    manifest = read_manifest(inputs.job.directory)
    weights = inputs.job.directory / MODEL / "weights.safetensors"
    if manifest is None or manifest["fingerprint"] != inputs.fingerprint or not weights.exists():
        return None
    return manifest


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a training directory, or None when no run was finished there."""
    try:
        # At once, not after asking whether it is there: the first process of a run may be putting it aside.
        content = (directory / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    try:
        manifest: dict[str, Any] = json.loads(content)
    except ValueError as fault:
        raise UserError(f"{directory / MANIFEST} is not valid JSON ({fault}): remove it to train again") from fault
    return manifest


def put_aside_superseded(inputs: Inputs) -> Path | None:
    """Move a finished run of other settings or data to superseded/<fingerprint>, with its last checkpoint alone.

    Returns where it went, or None when there was none. The checkpoint is that of the run as it was: put back, it can be
    continued, also by somebody who did not mean to begin anew. An unfinished run is left alone: its checkpoints refuse
    to go on with other settings. Where the job allows changes the finished run is to be continued: its checkpoints and
    curves stay.
    """
    directory = inputs.job.directory
    manifest = read_manifest(directory)
    if manifest is None or manifest["fingerprint"] == inputs.fingerprint:
        return None
    aside = place_aside(directory, manifest)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    names: tuple[str, ...] = _OF_A_FINISHED_RUN
    if inputs.job.allow:
        names = (MODEL, MANIFEST)
    else:
        checkpoints = directory / CHECKPOINTS
        if kept := list_checkpoints(checkpoints)[:1]:
            (aside / CHECKPOINTS).mkdir()
            kept[0].rename(aside / CHECKPOINTS / kept[0].name)
        shutil.rmtree(checkpoints, ignore_errors=True)
    for name in names:  # the manifest goes last: an interrupted move is done again
        if (directory / name).exists():
            (directory / name).rename(aside / name)
    return aside


def place_aside(directory: Path, manifest: Mapping[str, Any]) -> Path:
    """Where a finished run of this manifest is put when another one takes its place."""
    return directory / "superseded" / str(manifest["fingerprint"])[:12]
