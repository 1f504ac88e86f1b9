"""The measured side of bench.resume: runs that are killed again and again, beside one that is not.

The run is a small one in which much happens: validations, checkpoints in the background, dropout, and two steps of
nonsense that take it back to a checkpoint, so that loads happen in its middle too. A kill comes in a phase drawn by the
seed, up to some hundredths of a second after its beginning, which is long enough for a checkpoint's thread to be hit
anywhere in its work. Each seed kills one of the processes in a step, a save, a validation and a load, in random order.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.forked_run import ForkedRun, write_data
from bench.planned_faults import Fault, Planned
from pipeline.errors import UserError
from trainer.checkpoint.directory import list_checkpoints, step_of
from trainer.checkpoint.seal import damage
from trainer.exit_codes import DONE, FAILED
from trainer.watch.heartbeat import Phase

STEPS, CHECKPOINT_EVERY = 30, 5
ROWS = 8
SPIKES = tuple(range(17 * ROWS, 19 * ROWS))
"""Samples of the steps 18 and 19: the run goes back to step 15."""
LATEST_SECONDS = 0.04
LAYOUTS: tuple[dict[str, Any], ...] = (
    {"parallel": {"data": 2}, "zero": 1},
    {"parallel": {"data": 2}, "zero": 3},
    {"parallel": {"data": 1, "tensor": 2}},
    {"parallel": {"data": 1, "pipeline": 2}},
)
"""Of the seeds in turn."""
MOMENTS: dict[str, tuple[Phase, ...]] = {
    "step": ("data", "gradient", "update"),
    "save": ("save",),
    "validation": ("validation",),
    "load": ("load",),
}
COUNTS = {"step": range(1, 9), "save": range(1, 3), "validation": range(1, 5), "load": (1, 1, 2)}
"""At the how-manieth time that a start enters the phase. A second load is that of the way back before the nonsense."""
SETTINGS: dict[str, Any] = {
    "steps": STEPS,
    "checkpoint_every": CHECKPOINT_EVERY,
    "validation_every": 4,
    "stability": {"skip_sigma": 5.0, "window": 8, "rollback_after": 2},
}


@dataclass
class Survival:
    """What became of a run that was killed again and again."""

    seed: int
    kills: list[str] = field(default_factory=list)
    """In which moments."""
    steps_lost: list[int] = field(default_factory=list)
    """By each kill: steps done since the checkpoint that the run then went on from."""
    faults: list[str] = field(default_factory=list)
    """What was not as promised; empty for nothing."""


class Runs:
    """Runs on one dataset in a folder, and the undisturbed one of each layout."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens = write_data(folder)
        self._whole: dict[int, ForkedRun] = {}

    def undisturbed(self, number: int) -> ForkedRun:
        """The run of a layout that nothing happens to.

        Raises:
            UserError: it failed, or it was not taken back once.
        """
        if number not in self._whole:
            run = self._run(f"layout{number}", number)
            if run.start(Planned(spikes=SPIKES)) != DONE or len(run.messages("rollback")) != 1:
                raise UserError(f"the undisturbed run did not go as planned: {run.events[-3:]}")
            self._whole[number] = run
        return self._whole[number]

    def survive(self, seed: int) -> Survival:
        """Kill a run in each moment, in an order and at times that the seed draws, and compare its end."""
        draw = random.Random(seed)
        number = seed % len(LAYOUTS)
        whole, run = self.undisturbed(number), self._run(f"seed{seed}", number)
        found = Survival(seed)
        moments = draw.sample(list(MOMENTS), len(MOMENTS))
        for moment in moments:
            fault = Fault(
                rank=draw.randrange(2),
                signal=signal.SIGKILL,
                phase=draw.choice(MOMENTS[moment]),
                count=draw.choice(COUNTS[moment]),
                seconds=draw.choice((0.0, draw.uniform(0.0, LATEST_SECONDS))),
            )
            if _start(run, Planned((fault,), SPIKES), found, fault.rank):
                break
            found.kills.append(moment)
        else:
            if not _start(run, Planned(spikes=SPIKES), found, None):
                found.faults.append("it failed without being killed")
                return found
        for what, own, expected in (
            ("losses, norms and rates", run.measured(), whole.measured()),
            ("rows of data", run.rows(), whole.rows()),
            ("weights", run.weights(), whole.weights()),
        ):
            if own != expected:
                found.faults.append(f"other {what} than those of the undisturbed run")
        if not found.faults:
            shutil.rmtree(run.directory)
        return found

    def _run(self, name: str, number: int) -> ForkedRun:
        return ForkedRun(self._folder / name, self._tokens, {"dropout": 0.1}, {**SETTINGS, **LAYOUTS[number]})


def _start(run: ForkedRun, planned: Planned, found: Survival, killed: int | None) -> bool:
    """One start of the run, and whether it came to its end; notes what was not as promised."""
    checkpoints = run.directory / "checkpoints"
    found.faults += [f"{path} is not whole: {what}" for path in list_checkpoints(checkpoints) if (what := damage(path))]
    newest = max((step_of(path.name) or 0 for path in list_checkpoints(checkpoints)), default=0)
    done = _steps_done(run)
    if done:
        found.steps_lost.append(done - newest)
    code = run.start(planned)
    resumed = next((event["step"] for event in run.events if event["event"] == "resume"), None)
    reached_it = any(event["event"] in ("resume", "step", "done") for event in run.events)
    if reached_it and (resumed or 0) != newest:
        found.faults.append(f"it went on from step {resumed}, the newest checkpoint was of step {newest}")
    if code == FAILED and killed is not None:
        if not any(f"training process {killed} was ended by SIGKILL" in said for said in run.messages("error")):
            found.faults.append(f"process {killed} was killed, it said: {run.messages('error')}")
        return False
    if code != DONE:
        found.faults.append(f"exit code {code}: {run.messages('error')}")
    return code == DONE


def _steps_done(run: ForkedRun) -> int:
    path = run.directory / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return max((int(line["step"]) for line in lines), default=0)
