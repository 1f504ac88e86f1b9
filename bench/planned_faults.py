"""Faults at planned moments inside a training process, and a record of the rows that each step was given.

A process tells its heartbeat what it begins, so a signal can be sent to it by itself in a given phase of a given step,
or some milliseconds later. The signals are real ones; nothing of the loop, the engine or the checkpoints is replaced.
`plant` changes the process that it is called in, and is meant for processes that are forked for one start of a run.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.batch import Batch
from trainer.data_cursor import DataCursor
from trainer.identity import Inputs
from trainer.parallel.layout import Layout
from trainer.settings.watch import WatchSettings
from trainer.watch.heartbeat import Heartbeat, Phase

if TYPE_CHECKING:
    from trainer.loop import TrainingLoop

ROWS = "rows"
"""Folder of a training directory with the rows that each process was given."""


@dataclass(frozen=True)
class Fault:
    """A signal that a process gets in a phase."""

    rank: int
    signal: int
    phase: Phase
    step: int | None = None
    """In the phase of this step, numbered from 1; None: of any."""
    count: int = 1
    """The how-manieth time that it enters this phase, of those that `step` leaves."""
    seconds: float = 0.0
    """So long after it entered the phase."""
    micro_batch: int | None = None
    """In the gradient's phase: when it takes up this micro-batch, numbered from 1."""


@dataclass(frozen=True)
class Planned:
    """What is done to the processes of one start of a run."""

    faults: tuple[Fault, ...] = ()
    spikes: tuple[int, ...] = ()
    """Samples, by their place in the run's order, whose targets are all turned into one rare word."""
    written_again: Path | None = None
    """Folder in which the state is saved again as soon as it was loaded."""


class _PlannedHeartbeat(Heartbeat):
    planned = Planned()
    working_on: tuple[Phase, int] = ("start", 0)

    def __init__(self, rank: int, settings: WatchSettings | None = None) -> None:
        super().__init__(rank, settings)
        self._entered: Counter[Fault] = Counter()

    def enter(self, phase: Phase, step: int) -> None:
        super().enter(phase, step)
        type(self).working_on = (phase, step)
        for fault in self.planned.faults:
            if fault.rank != self.rank or fault.phase != phase or fault.step not in (None, step + 1):
                continue
            self._entered[fault] += 1
            if self._entered[fault] == fault.count and fault.micro_batch is None:
                strike(fault)


def strike(fault: Fault) -> None:
    """Send this process the signal, at once or when the time has come."""
    if not fault.seconds:
        os.kill(os.getpid(), fault.signal)
        return
    timer = threading.Timer(fault.seconds, os.kill, (os.getpid(), fault.signal))
    timer.daemon = True
    timer.start()


class _MicroBatches(list[Batch]):
    """Those of a step; strikes between two of them."""

    fault: Fault | None = None

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in enumerate(super().__iter__(), start=1):
            fault = self.fault
            if fault is not None and number == fault.micro_batch and _PlannedHeartbeat.working_on[0] == "gradient":
                self.fault = None
                strike(fault)
            yield batch


class _RecordingCursor(DataCursor):
    """Writes down what each step was given, as hashes of the rows' content."""

    def __init__(self, inputs: Inputs, layout: Layout, rank: int) -> None:
        self._rank = rank
        folder = inputs.job.directory / ROWS
        folder.mkdir(exist_ok=True)
        place = layout.coordinates(rank)
        self._file = folder / f"{rank}.jsonl" if not place.tensor and not place.pipeline else None
        super().__init__(inputs, layout, rank)

    def batches(self, step: int) -> list[Batch]:
        found = super().batches(step)
        rows = [hash_of(batch, row) for batch in found for row in range(len(batch.inputs))]
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps({"step": step + 1, "copy": self._copy, "rows": rows}) + "\n")
        given = _MicroBatches(self._spoiled(found, step))
        for fault in _PlannedHeartbeat.planned.faults:
            if fault.micro_batch is not None and (fault.rank, fault.step) == (self._rank, step + 1):
                given.fault = fault
        return given

    def _spoiled(self, batches: list[Batch], step: int) -> list[Batch]:
        if not _PlannedHeartbeat.planned.spikes:
            return batches
        rows = self._inputs.batches.rows_of_step(step)
        place = self.samples_seen(step) + self._layout.rows_of(self._copy, rows).start
        spoiled = []
        for batch in batches:
            places = np.arange(place, place + len(batch.targets))
            wrong = np.isin(places, _PlannedHeartbeat.planned.spikes)
            rare = self._inputs.shape.vocab_size // 2
            spoiled.append(replace(batch, targets=np.where(wrong[:, None], rare, batch.targets)))
            place += len(batch.targets)
        return spoiled


def hash_of(batch: Batch, row: int) -> str:
    """A short hash of one row of a batch."""
    content = batch.inputs[row].tobytes() + batch.targets[row].tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def rows_of_steps(directory: Path) -> dict[int, list[str]]:
    """Step -> hashes of the rows that it was given over all copies, in order; of a step done again the last time."""
    shares: dict[int, dict[int, list[str]]] = {}
    for path in sorted((directory / ROWS).glob("*.jsonl")):
        for line in path.read_text().splitlines():
            given = json.loads(line)
            shares.setdefault(given["step"], {})[given["copy"]] = given["rows"]
    return {step: [row for copy in sorted(found) for row in found[copy]] for step, found in sorted(shares.items())}


def plant(planned: Planned) -> None:
    """Have all this happen in the run that this process is about to take part in."""
    from trainer import consistency, loop, run, worker

    _PlannedHeartbeat.planned = planned

    class Resaving(loop.TrainingLoop):
        def _resume(self) -> None:
            super()._resume()
            if planned.written_again is not None:
                write_again(self, planned.written_again)

    vars(worker)["Heartbeat"] = _PlannedHeartbeat
    vars(loop)["DataCursor"] = _RecordingCursor
    vars(run)["TrainingLoop"] = Resaving
    # Forked processes have the same code in memory, whatever becomes of its files meanwhile.
    vars(consistency)["_code_digest"] = lambda: "forked"


def write_again(loop: TrainingLoop, folder: Path) -> None:
    """Save the state that a run has just taken up, in its layout, to another folder of checkpoints."""
    from trainer.checkpoint.directory import list_checkpoints, read_state
    from trainer.checkpoint.save import layout_of
    from trainer.checkpoint.writer import CheckpointWriter
    from trainer.model.declaration import declare_parameters

    state = read_state(list_checkpoints(loop.checkpoints)[0])
    if loop.ranks.is_first:
        folder.mkdir(parents=True, exist_ok=True)
    loop.ranks.barrier()
    declarations = declare_parameters(loop.engine.shape)
    writer = CheckpointWriter(folder, loop.ranks, declarations, lambda *_, **__: None, asynchronous=False)
    writer.save(loop.engine.state_pieces(for_saving=True), {**state, "layout": layout_of(loop.engine)})
    writer.close()
