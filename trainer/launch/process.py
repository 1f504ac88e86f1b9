"""One training process as a child of this one: its environment, its log, its events, its end."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from trainer.exit_codes import ERROR_PREFIX, INTERRUPTED
from trainer.watch.parent import PARENT_PIPE
from trainer.watch.watchdog import STACK_SIGNAL

QUOTED_LINES = 5

KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""glibc returns large blocks to the system when they are freed; each forward pass would then fault in all its pages
anew. Keeping them gave 1.3 times the tokens/s on CPU (7 M parameters, one core); memory stays at its peak."""


@dataclass(frozen=True)
class Report:
    """What is known of a process now."""

    code: int | None = None
    """How it ended: exit code, or minus the number of the signal; None: it runs."""
    explanation: str | None = None
    """What it said of its own error, meant for the user."""
    last_lines: str = ""
    """The end of its log, once it has ended."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """What it told since the last report (only the first process tells anything)."""
    lost: str | None = None
    """Why nothing is known of it any more: what ran it is gone."""


@dataclass(frozen=True)
class Place:
    """Where a process stands among the others; the variables that every launcher sets."""

    rank: int
    world: int
    local_rank: int
    local_world: int
    address: str
    port: int

    def variables(self) -> dict[str, str]:
        """As torch.distributed reads them."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_world),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def log_of(job_file: Path, rank: int) -> Path:
    """Where a process's own words go."""
    return job_file.parent / "logs" / f"rank_{rank}.log"


class TrainingProcess:
    """A child in a session of its own, so that Ctrl-C does not reach it but by us; it ends when we are gone."""

    def __init__(self, job_file: Path, place: Place, threads: int) -> None:
        self.rank = place.rank
        self._log = log_of(job_file, place.rank)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        self._asked_to_stop = False
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "trainer.worker", str(job_file.absolute())],
                env={
                    **KEEP_FREED_MEMORY,
                    **os.environ,
                    **place.variables(),
                    "OMP_NUM_THREADS": str(threads),
                    PARENT_PIPE: "1",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if place.rank == 0 else log,
                stderr=log,
                start_new_session=True,
            )
        # No SimpleQueue: CPython 3.11's waits for ever when a signal arrives just as its timeout ends.
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader: threading.Thread | None = None
        if self._child.stdout is not None:
            self._reader = threading.Thread(target=self._read_events, args=(self._child.stdout,), daemon=True)
            self._reader.start()

    def report(self, wait_seconds: float = 0.0) -> Report:
        """What it told since the last report, after waiting a moment for the first event; how it ended, if it did."""
        events = []
        if self._reader is not None:
            try:
                events.append(self._events.get(timeout=wait_seconds) if wait_seconds else self._events.get_nowait())
                while True:
                    events.append(self._events.get_nowait())
            except queue.Empty:
                pass
        code = self._child.poll()
        if code is None:
            return Report(events=events)
        if self._reader is not None:
            self._reader.join()
            while not self._events.empty():
                events.append(self._events.get())
        if self._asked_to_stop and code == -signal.SIGTERM:
            code = INTERRUPTED  # before it could listen: it had nothing to save
        lines = self._said()
        explained = bool(lines) and lines[-1].startswith(ERROR_PREFIX)
        return Report(
            code,
            explanation=lines[-1].removeprefix(ERROR_PREFIX) if explained else None,
            last_lines=" | ".join(line.strip() for line in lines[-QUOTED_LINES:]),
            events=events,
        )

    def ask_to_stop(self) -> None:
        """Let it finish the step, save and end."""
        self._asked_to_stop = True
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)

    def print_stacks(self) -> None:
        """Make it write its stacks to its log, also when it was stopped by SIGSTOP or cannot run Python code."""
        try:
            process = psutil.Process(self._child.pid)
            process.send_signal(STACK_SIGNAL)
            process.resume()
        except psutil.Error:
            return

    def kill(self) -> None:
        """End it now; a checkpoint in the making is thrown away, the one before it stays."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        if self._child.stdin is not None:
            self._child.stdin.close()
        if self._reader is not None:
            self._reader.join()

    def _read_events(self, output: IO[bytes]) -> None:
        for line in output:
            self._events.put(json.loads(line))

    def _said(self) -> list[str]:
        """The lines that this start of the process left in its log."""
        with self._log.open("rb") as file:
            file.seek(self._log_start)
            text = file.read().decode(errors="replace")
        return [line for line in text.splitlines() if line.strip()]
