"""How long a training job takes to its first step, beside importing torch and DeepSpeed; part of `bench.train`.

Measured is `python -m trainer.worker`, as the launcher starts it, until the event of its first step has been read, and
a process that imports torch and deepspeed and ends; and, told only, all processes of `launch` until that event. The
model is small (one block, a row a step), so that it is the start that is measured and no step.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.harness import ROOT
from bench.train_task import SHAPE, job_of
from pipeline.errors import UserError
from trainer.job import TrainingJob
from trainer.launch.embedded import write_job

IMPORTS = "import torch, deepspeed"
WHOLE = "import sys; from bench.train_start import launch_file; launch_file(sys.argv[1])"


@dataclass(frozen=True)
class Start:
    """What was used until something happened."""

    wall_seconds: float
    cpu_seconds: float
    """Of the process and, once they have ended, its children."""


def imports() -> Start:
    """Importing alone."""
    return _until("", [sys.executable, "-c", IMPORTS])


def worker(folder: Path, directory: Path) -> Start:
    """A training process until its first step is done."""
    return _until("step", [sys.executable, "-m", "trainer.worker", str(_job_file(folder, directory))])


def whole(folder: Path, directory: Path) -> Start:
    """The launching process with it."""
    return _until("step", [sys.executable, "-c", WHOLE, str(_job_file(folder, directory))])


def launch_file(job_file: str) -> None:
    """Launch a job and print its events, as `gptmill pretrain` does."""
    from trainer.launch import launch

    job = TrainingJob.model_validate_json(Path(job_file).read_bytes())
    sys.exit(launch(job, lambda event: print(json.dumps(event), flush=True)))


def _job_file(folder: Path, directory: Path) -> Path:
    job = job_of(folder, "modern", "fp32", directory, steps=1)
    settings = job.settings.model_copy(update={"global_batch_tokens": 256, "micro_batch_size": 1})
    assert job.model is not None
    model = job.model.model_copy(update={**SHAPE, "layers": 1, "width": 64, "heads": 1, "feed_forward_width": 64})
    directory.mkdir(parents=True)
    return write_job(job.model_copy(update={"settings": settings, "model": model}))


def _until(event: str, command: list[str]) -> Start:
    """Run a command and read the clocks when it tells of this event, or else at its end.

    Raises:
        UserError: it ended without; quotes what it said last.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    with tempfile.TemporaryFile("w+") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        found = None
        with process.stdout as lines:
            for line in lines:
                if event and found is None and json.loads(line)["event"] == event:
                    found = Start(time.perf_counter() - started, _cpu_seconds(process.pid))
        usage = os.wait4(process.pid, 0)[2]
        if not event:
            found = Start(time.perf_counter() - started, usage.ru_utime + usage.ru_stime)
        process.wait()
        log.seek(0)
        if found is None:
            raise UserError(f"{' '.join(command)} ended before its first {event}; its last words: {log.read()[-2000:]}")
    return found


def _cpu_seconds(pid: int) -> float:
    tree = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:4]) for process in [tree, *tree.children(recursive=True)])
