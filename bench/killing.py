"""Kills a job as a stopping machine does: SIGKILL to it and to every process that it started, at once."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.harness import ROOT
from pipeline.errors import UserError

RECORDS = 3
"""New records in the watched folder when the kill comes."""
POLL_SECONDS = 0.002
WAIT_SECONDS = 600


def start_and_kill(command: Sequence[str], folder: Path, log: Path) -> None:
    """Start a job and kill it when it has written `RECORDS` records more in a folder; `log` takes what it says.

    Raises:
        UserError: it came to its end before.
    """
    before = len(records(folder))
    with log.open("ab") as said:
        job = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
        deadline = time.monotonic() + WAIT_SECONDS
        while len(records(folder)) < before + RECORDS:
            if job.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"the job came to its end before {RECORDS} records of {folder}: see {log}")
            time.sleep(POLL_SECONDS)
        descendants = psutil.Process(job.pid).children(recursive=True)
        os.killpg(job.pid, signal.SIGKILL)
        for process in descendants:
            if process.is_running():
                process.kill()
        job.wait()
        psutil.wait_procs(descendants, timeout=WAIT_SECONDS)


def records(folder: Path) -> list[str]:
    """Names of the records of finished tasks in a folder."""
    return [name for name in os.listdir(folder) if name.endswith(".json")] if folder.is_dir() else []  # noqa: PTH208
