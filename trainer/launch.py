"""Start the processes of a job on this machine, pass on what they say, and end them all together.

The processes run in a session of their own, so that Ctrl-C reaches only this one, which forwards it once: they agree
on a step, save and end. A second Ctrl-C ends them at once. Each watches a pipe from this process and ends when it is
gone, even by kill -9. When one fails the others are ended, and the error names it and says why.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from pipeline.kernels.compiled import ensure_compiled
from trainer.data.shards import KERNELS
from trainer.devices import count_cores, count_gpus
from trainer.exit_codes import BAD_USAGE, DONE, ERROR_PREFIX, FAILED, INTERRUPTED
from trainer.identity import open_inputs
from trainer.job import TrainingJob
from trainer.manifest import finished_manifest, put_aside_superseded
from trainer.parallel.layout import plan_layout
from trainer.watch import PARENT_PIPE, SIGNALS

POLL_SECONDS = 0.05
GRACE_SECONDS = 20.0
"""How long processes may take to end after the first one ended well."""
QUOTED_LINES = 5

OnEvent = Callable[[dict[str, Any]], None]


def launch(job: TrainingJob, on_event: OnEvent) -> int:
    """Run a job to its end and return its exit code: 0 done (or already done), 1 failed, 75 interrupted and saved.

    Every event of the first process is passed to `on_event`; a failure is the event "error" with a message. Raises
    UserError before any process is started when data, settings or layout do not fit together.
    """
    job.directory.mkdir(parents=True, exist_ok=True)
    inputs = open_inputs(job)
    if finished_manifest(inputs) is not None:
        return DONE
    ensure_compiled(KERNELS)  # once, not in each process
    gpus = count_gpus()
    layout = plan_layout(job.settings, inputs.data.context_length, gpus=gpus, cores=count_cores())
    if (aside := put_aside_superseded(inputs)) is not None:
        on_event({"event": "warning", "message": f"settings or data changed: the finished run is now in {aside}"})
    job_file = job.directory / "job.json"
    job_file.write_text(job.model_dump_json(indent=2) + "\n", encoding="utf-8")
    threads = job.settings.threads_per_process or max(1, count_cores() // layout.world)
    family = _Family(job_file, layout.world, threads)
    try:
        with _counted_signals(family):
            return family.wait(on_event)
    finally:
        family.kill()


class _Family:
    """The processes of one run."""

    def __init__(self, job_file: Path, world: int, threads: int) -> None:
        self.signals = 0
        """How many signals this process received; acted on in `wait`."""
        self._forwarded = False
        self._logs = [job_file.parent / "logs" / f"rank_{rank}.log" for rank in range(world)]
        self._logs[0].parent.mkdir(exist_ok=True)
        self._log_starts = [log.stat().st_size if log.exists() else 0 for log in self._logs]
        port = _free_port()
        self._processes = [self._start(job_file, rank, world, port, threads) for rank in range(world)]
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        output = self._processes[0].stdout
        assert output is not None
        self._reader = threading.Thread(target=self._read_events, args=(output,), daemon=True)
        self._reader.start()

    def _start(self, job_file: Path, rank: int, world: int, port: int, threads: int) -> subprocess.Popen[bytes]:
        environment = {
            **KEEP_FREED_MEMORY,
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": str(threads),
            PARENT_PIPE: "1",
        }
        with self._logs[rank].open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "trainer.worker", str(job_file.absolute())],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if rank == 0 else log,
                stderr=log,
                start_new_session=True,
            )

    def _read_events(self, output: IO[bytes]) -> None:
        for line in output:
            self._events.put(json.loads(line))

    def wait(self, on_event: OnEvent) -> int:
        """Pass on events until all processes have ended; returns the exit code of the run."""
        first_end: float | None = None
        while True:
            self._pass_on(on_event)
            if self.signals > 1:
                return INTERRUPTED
            if self.signals and not self._forwarded:
                self._forwarded = True
                self._ask_to_stop()
            codes = [self._code(process) for process in self._processes]
            if any(code not in (None, DONE, INTERRUPTED) for code in codes):
                return self._fail(codes, on_event)
            if all(code is not None for code in codes):
                self._reader.join()
                self._pass_on(on_event)
                return max(code for code in codes if code is not None)
            if any(code is not None for code in codes):
                first_end = first_end or time.monotonic()
                if time.monotonic() - first_end > GRACE_SECONDS:
                    return INTERRUPTED if INTERRUPTED in codes else self._fail(codes, on_event)

    def _code(self, process: subprocess.Popen[bytes]) -> int | None:
        """Exit code so far; a process that was asked to stop before it could listen has nothing to save."""
        code = process.poll()
        return INTERRUPTED if self._forwarded and code == -signal.SIGTERM else code

    def _pass_on(self, on_event: OnEvent) -> None:
        """All events that are there, after waiting a moment for the first."""
        try:
            on_event(self._events.get(timeout=POLL_SECONDS))
            while True:
                on_event(self._events.get_nowait())
        except queue.Empty:
            return

    def _ask_to_stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End every process that is left; a checkpoint in the making is thrown away, the one before it stays."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
        for process in self._processes:
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._reader.join()

    def _fail(self, codes: list[int | None], on_event: OnEvent) -> int:
        """Tell why; a process that was killed or that explains itself is the cause, the others its consequences."""
        ended = {rank: code for rank, code in enumerate(codes) if code is not None}
        rank = min(ended, key=lambda rank: (ended[rank] >= 0, self._explanation(rank) is None, ended[rank] == 0, rank))
        code = ended[rank]
        message = self._explanation(rank)
        if message is None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            last = " | ".join(line.strip() for line in self._said(rank)[-QUOTED_LINES:])
            message = f"training process {rank} {how}; last lines of {self._logs[rank]}: {last or '(none)'}"
        on_event({"event": "error", "rank": rank, "message": message})
        return BAD_USAGE if code == BAD_USAGE else FAILED

    def _said(self, rank: int) -> list[str]:
        """The lines that this start of a process left in its log."""
        text = self._logs[rank].read_bytes()[self._log_starts[rank] :].decode(errors="replace")
        return [line for line in text.splitlines() if line.strip()]

    def _explanation(self, rank: int) -> str | None:
        lines = self._said(rank)
        if lines and lines[-1].startswith(ERROR_PREFIX):
            return lines[-1].removeprefix(ERROR_PREFIX)
        return None


KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""glibc returns large blocks to the system when they are freed; each forward pass would then fault in all its pages
anew. Keeping them gave 1.3 times the tokens/s on CPU (7 M parameters, one core); memory stays at its peak."""


@contextmanager
def _counted_signals(family: _Family) -> Iterator[None]:
    """While training, SIGINT and SIGTERM to this process are requests to the family. Only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def receive(_: int, __: FrameType | None) -> None:
        family.signals += 1

    before = {number: signal.signal(number, receive) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
