"""One finding of the doctor, and how it asks another process about a heavy library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    """problem: gptmill, or a part of it, will not work; warning: it will work, but slower or not everywhere."""
    found: str
    """What is there, in one line."""
    remedy: str = ""
    """What to do, when there is something to do."""


class ProbeFailed(Exception):
    """A probe died, hung, or wrote no answer; the message says which."""


def probe(code: str, seconds: float) -> Any:
    """Run Python code in a process of its own, so that a broken library cannot take the doctor with it.

    Args:
        code: prints one line of JSON, last of all its output.
        seconds: time limit.

    Raises:
        ProbeFailed: the last line of the process's error, or that it took too long.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment, check=False)
    except subprocess.TimeoutExpired as fault:
        raise ProbeFailed(f"no answer within {seconds:g} seconds") from fault
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ProbeFailed(lines[-1] if lines else f"ended with exit code {done.returncode}")
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError) as fault:
        raise ProbeFailed("gave no answer") from fault
