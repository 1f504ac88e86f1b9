"""Start the processes of a job on this machine, as many as its layout says, and wait for them.

The processes run in a session of their own, so that Ctrl-C reaches only this one, which forwards it once: they agree
on a step, save and end. A second Ctrl-C ends them at once. Each watches a pipe from this process and ends when it is
gone, even by kill -9.
"""

import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.kernels.compiled import ensure_compiled
from trainer.checkpoint.copies import require_place
from trainer.data.shards import KERNELS
from trainer.devices import count_cores, count_gpus
from trainer.exit_codes import DONE, FAILED
from trainer.identity import Inputs, open_inputs
from trainer.job import TrainingJob
from trainer.launch.family import Family, Members, OnEvent
from trainer.launch.process import Place, Report, TrainingProcess
from trainer.launch.requests import AskedBefore, StopSignals, nobody_asked
from trainer.launch.supervisor import supervise
from trainer.logging.journal import Journal
from trainer.manifest import finished_manifest, put_aside_superseded
from trainer.next_start import next_start
from trainer.parallel.layout import Layout, plan_layout
from trainer.watch.heartbeat import HEARTBEATS, furthest_step

POLL_SECONDS = 0.05

Start = Callable[[Path, Layout], Members]
"""Starts the processes of a job file in a layout."""


def launch(job: TrainingJob, on_event: OnEvent, asked_before: AskedBefore = nobody_asked) -> int:
    """Run a job on this machine to its end and return its exit code: 0 done (or already done), 1 failed, 75
    interrupted and saved, 124 hang.

    Every event of the first process is passed to `on_event`; a failure is the event "error" with a message. Where
    `asked_before` says that a signal came during the preparations, nothing is started. Raises UserError before any
    process is started when data, settings or layout do not fit together.
    """
    ensure_compiled(KERNELS)  # once, not in each process
    return launch_with(job, on_event, start_here, gpus=count_gpus(), cores=count_cores(), asked_before=asked_before)


def launch_with(
    job: TrainingJob,
    on_event: OnEvent,
    start: Start,
    *,
    gpus: int,
    cores: int,
    asked_before: AskedBefore = nobody_asked,
) -> int:
    """`launch` with another way to start processes, on so many devices."""
    tell = recorded(job, on_event)
    inputs = prepare(job, tell)
    if inputs is None:
        return DONE
    layout = plan_layout(job.settings, inputs.data.context_length, gpus=gpus, cores=cores, model=inputs.shape)
    job_file = write_job(job.model_copy(update={"started": time.time()}))

    def start_once(signals: StopSignals) -> int:
        shutil.rmtree(job.directory / HEARTBEATS, ignore_errors=True)
        members = start(job_file, layout)
        try:
            code = Family(members, job_file, layout.world, job.settings.watch, signals).wait(on_event, tell)
        finally:
            members.kill()
        return code if code != DONE else _require_finished(inputs, tell)

    def step_reached() -> int:
        return furthest_step(job.directory / HEARTBEATS, layout.world)

    return supervise(start_once, step_reached, job.settings.watch.restarts, tell, asked_before=asked_before)


def recorded(job: TrainingJob, on_event: OnEvent) -> OnEvent:
    """Also writes events to the run's events.jsonl: those of whoever starts the processes, which they cannot write."""

    def tell(event: dict[str, Any]) -> None:
        details = {key: value for key, value in event.items() if key != "event"}
        with suppress(OSError):  # a full disk is no reason to say nothing
            Journal(job.directory, None, active=True).event(event["event"], **details)
        on_event(event)

    return tell


def prepare(job: TrainingJob, on_event: OnEvent) -> Inputs | None:
    """Open a job's inputs and put aside what a finished run of other settings left; None when this one is finished.

    Raises:
        SettingError: a word of `allow` names no setting.
        UserError: the inputs do not fit together, or the run's newest checkpoint cannot be continued with this recipe,
            or the place of its copies cannot be written to.
    """
    job.directory.mkdir(parents=True, exist_ok=True)
    inputs = open_inputs(job)
    # Refuses what the processes would refuse when they load, before anything is moved or started.
    if next_start(job, inputs.identity, inputs.steps).kind == "nothing":
        return None
    if job.settings.checkpoint_copy is not None:
        require_place(f"{job.kind}.checkpoint_copy", job.settings.checkpoint_copy)
    if (aside := put_aside_superseded(inputs)) is not None:
        kept = (
            "the finished model is kept in"
            if job.allow
            else "training begins anew; the finished run and its last checkpoint are now in"
        )
        on_event({"event": "warning", "message": f"settings or data changed: {kept} {aside}"})
    return inputs


def write_job(job: TrainingJob) -> Path:
    """Write job.json, which every process reads."""
    job_file = job.directory / "job.json"
    job_file.write_text(job.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return job_file


def _require_finished(inputs: Inputs, on_event: OnEvent) -> int:
    """Exit code 0 means a finished model, whatever the processes say."""
    manifest = finished_manifest(inputs)
    if manifest is not None and manifest["steps"] == inputs.steps:
        return DONE
    done = "no manifest was written" if manifest is None else f"the manifest says {manifest['steps']}"
    message = f"the processes ended with exit code 0, but of {inputs.steps} planned steps {done}: see the logs"
    on_event({"event": "error", "message": message})
    return FAILED


class LocalProcesses:
    """The processes of a run on this machine."""

    def __init__(self, processes: Sequence[TrainingProcess]) -> None:
        self._processes = processes

    def reports(self) -> list[Report]:
        """What is known of each; waits a moment for the first event of the first process."""
        first, *others = self._processes
        return [first.report(POLL_SECONDS), *(process.report() for process in others)]

    def ask_to_stop(self) -> None:
        """Let all finish the step, save and end."""
        for process in self._processes:
            process.ask_to_stop()

    def print_stacks(self, ranks: Sequence[int]) -> None:
        """Make these write their stacks to their logs."""
        for rank in ranks:
            self._processes[rank].print_stacks()

    def kill(self) -> None:
        """End what is left."""
        for process in self._processes:
            process.kill()


def start_here(job_file: Path, layout: Layout) -> LocalProcesses:
    """Start all processes of a layout on this machine."""
    job = TrainingJob.model_validate_json(job_file.read_bytes())
    threads = job.settings.threads_per_process or max(1, count_cores() // layout.world)
    port = free_port()
    world = layout.world
    places = [Place(rank, world, rank, world, "127.0.0.1", port) for rank in range(world)]
    return LocalProcesses([TrainingProcess(job_file, place, threads) for place in places])


def free_port() -> int:
    """A port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
