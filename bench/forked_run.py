"""Training runs by the real launcher, whose processes are forked from one that has imported everything.

A start costs a fork and the processes' meeting (under a second on a quiet core each), not eight times the imports of
torch and DeepSpeed, so that hundreds of starts, kills and resumes can be watched. All else is what a user's run is:
`trainer.launch` looks after the processes and blames the one that failed, each process runs `trainer.worker`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import queue
import sys
import threading
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

from bench.drawn_tokens import write_drawn_tokens
from bench.fork_environment import environment_of_forks, lent
from bench.planned_faults import Planned, rows_of_steps
from trainer.exit_codes import FAILED
from trainer.job import TrainingJob
from trainer.launch.embedded import LocalProcesses, free_port, launch_with
from trainer.launch.process import Place, TrainingProcess, log_of
from trainer.manifest import MODEL
from trainer.parallel.layout import Layout
from trainer.settings import ModelSettings, PretrainSettings

UNDISTURBED = Planned()
CONTEXT, VOCAB, TRAIN_ROWS = 16, 61, 62
"""Of the data: 62 rows, so that with batches of 8 an epoch ends within a step."""
PRELOAD = ["bench.forked_imports"]
ENVIRONMENT = environment_of_forks("cpu")
MEASURED = (
    "step",
    "loss",
    "gradient_norm",
    "learning_rate",
    "tokens",
    "rows",
    "loss_scale",
    "skipped",
    "validation_loss",
    "bits_per_byte",
)
"""What a line of metrics says of the course of a run; the rest is of speed."""


def write_data(folder: Path, rows: int = TRAIN_ROWS, name: str = "tokens") -> Path:
    """A token dataset for runs in `folder`."""
    write_drawn_tokens(folder / name, VOCAB, CONTEXT, {"train": rows, "validation": 6})
    return folder / name


class ForkedRun:
    """A training directory and all that its starts said."""

    def __init__(self, directory: Path, tokens: Path, model: dict[str, Any], settings: dict[str, Any]) -> None:
        self.directory, self.tokens = directory, tokens
        self.model = {"layers": 4, "width": 16, "heads": 4, **model}
        self.settings = {
            "global_batch_tokens": 8 * CONTEXT,
            "micro_batch_size": 3,
            "precision": "fp32",
            "threads_per_process": 1,
            "log_every": 1,
            "validation_every": 0,
            "schedule": {"warmup_steps": 3},
            "optimizer": {"lr": 0.005},
            **settings,
        }
        self.events: list[dict[str, Any]] = []

    def job(self, **settings: Any) -> TrainingJob:
        """What is to be done, with other settings where given."""
        return TrainingJob(
            kind="pretrain",
            directory=self.directory,
            tokens=self.tokens,
            tokenizer=self.tokens / "tokenizer.json",
            model=ModelSettings.model_validate(self.model),
            settings=PretrainSettings.model_validate({**self.settings, **settings}),
            seed=11,
        )

    def start(self, planned: Planned = UNDISTURBED, **settings: Any) -> int:
        """Run until it ends, or until what was planned ends it; returns the exit code."""
        self.events = []
        begin = partial(_start_forked, planned=planned)
        return launch_with(self.job(**settings), self.events.append, begin, gpus=0, cores=2)

    def messages(self, kind: str) -> list[str]:
        """What the events of a kind said in the last start."""
        return [event.get("message", "") for event in self.events if event["event"] == kind]

    def lines(self) -> list[dict[str, Any]]:
        """What was written down of steps and validations."""
        return [json.loads(line) for line in (self.directory / "metrics.jsonl").read_text().splitlines()]

    def measured(self) -> list[tuple[Any, ...]]:
        """The same without what is of speed."""
        return [tuple(line.get(name) for name in MEASURED) for line in self.lines()]

    def losses(self) -> dict[int, float]:
        """Step -> loss."""
        return {line[0]: line[1] for line in self.measured() if line[1] is not None}

    def rows(self) -> dict[int, list[str]]:
        """Step -> hashes of the rows that it was given."""
        return rows_of_steps(self.directory)

    def weights(self) -> str:
        """SHA-256 of the finished model."""
        return hashlib.sha256((self.directory / MODEL / "weights.safetensors").read_bytes()).hexdigest()


def _start_forked(job_file: Path, layout: Layout, planned: Planned) -> LocalProcesses:
    port, world = free_port(), layout.world
    places = [Place(rank, world, rank, world, "127.0.0.1", port) for rank in range(world)]
    return LocalProcesses([_ForkedProcess(job_file, place, planned) for place in places])


class _Child:
    """A forked process as `TrainingProcess` knows one: like `subprocess.Popen`."""

    def __init__(self, process: BaseProcess, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._process, self.stdin, self.stdout = process, stdin, stdout
        self.pid = process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.join()


class _ForkedProcess(TrainingProcess):
    def __init__(self, job_file: Path, place: Place, planned: Planned) -> None:
        self.rank = place.rank
        self._log = log_of(job_file, place.rank)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        self._asked_to_stop = False
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        told, tell = context.Pipe(duplex=False)
        watched, alive = context.Pipe(duplex=False)
        work = (job_file, place.variables(), planned, tell, watched, self._log)
        process = context.Process(target=_be_process, args=work, daemon=True)
        with lent(ENVIRONMENT):
            process.start()
        stdin, stdout = os.fdopen(os.dup(alive.fileno()), "wb"), os.fdopen(os.dup(told.fileno()), "rb")
        for end in (tell, watched, told, alive):
            end.close()
        self._child = _Child(process, stdin, stdout)  # type: ignore[assignment]
        # No SimpleQueue: CPython 3.11's waits for ever when a signal arrives just as its timeout ends.
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = None
        if place.rank == 0:
            self._reader = threading.Thread(target=self._read_events, args=(stdout,), daemon=True)
            self._reader.start()


def _be_process(
    job_file: Path, variables: dict[str, str], planned: Planned, tell: Connection, watched: Connection, log: Path
) -> None:
    """A forked process: what `python -m trainer.worker` does, with a plan."""
    from bench.planned_faults import plant
    from trainer.watch.parent import PARENT_PIPE, end_with_parent
    from trainer.watch.signals import StopRequest
    from trainer.worker import take_part

    os.setsid()
    said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in (1, 2):
        os.dup2(said, number)
    os.environ.update(variables, **ENVIRONMENT, **{PARENT_PIPE: "1"})
    sys.stdin = os.fdopen(os.dup(watched.fileno()))
    end_with_parent()
    stop = StopRequest()
    stop.listen()
    plant(planned)
    code = FAILED
    try:
        job = TrainingJob.model_validate_json(job_file.read_bytes())
        code = take_part(job, os.fdopen(os.dup(tell.fileno()), "w", encoding="utf-8"), stop)
    finally:
        sys.stderr.flush()
        os._exit(code)
