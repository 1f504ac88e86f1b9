"""How far each process is, where every other process can read it.

A process says with `enter` what it begins; that costs an assignment, and a write of eight bytes a step. Its watchdog
writes the newest state to `heartbeat/rank_00000.json` a few times a minute, so the age of a file tells whether its
process still runs at all, and its content where it stands. All processes of a run enter the same phases in the same
order: the one with the fewest beats is the one that the others wait for.
"""

import json
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from trainer.settings.watch import WatchSettings

HEARTBEATS = "heartbeat"
"""Folder of a training directory."""

Phase = Literal["start", "load", "data", "gradient", "update", "validation", "samples", "save", "end"]
"""start: imports, data, model. end: writing the finished model. The others are parts of the loop."""
_WRITING = ("load", "save", "end")
_STEP_BYTES = 8
_STEP = ("data", "gradient", "update")


@dataclass(frozen=True)
class Beat:
    """What one process said last."""

    rank: int
    phase: Phase
    step: int
    """The step that it works on, from 0; or how many are done, between two."""
    beats: int
    """Phases entered so far."""
    seconds: float
    """How long it had been in the phase when this was written."""
    limit: float
    """Seconds after which it counts as hanging."""
    time: float
    """When this was written, in seconds since 1970 by the clock of its machine."""
    host: str
    process: int

    def __str__(self) -> str:
        return f"rank {self.rank} ({self.host}, process {self.process})"

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return "the start" if self.phase == "start" else f"{self.phase} of step {self.step + 1}"


class Heartbeat:
    """The state of this process; `enter` is called by the loop, the rest by the watchdog's thread."""

    def __init__(self, rank: int, settings: WatchSettings | None = None) -> None:
        settings = settings or WatchSettings()
        self.rank = rank
        self._start, self._step, self._save = (
            60.0 * minutes for minutes in (settings.start_minutes, settings.step_minutes, settings.save_minutes)
        )
        self._first_step: int | None = None
        self._host, self._process = socket.gethostname(), os.getpid()
        self._state: tuple[Phase, int, int, float, float] = ("start", 0, 1, time.monotonic(), self._start)
        self._step_file: int | None = None

    def open(self, directory: Path) -> None:
        """Keep the step in a file from now on, so that it is known exactly even after kill -9."""
        self._step_file = os.open(directory / step_name(self.rank), os.O_WRONLY | os.O_CREAT, 0o644)
        self._keep(self._state[1])

    def _keep(self, step: int) -> None:
        if self._step_file is not None:
            os.pwrite(self._step_file, step.to_bytes(_STEP_BYTES, "little"), 0)

    def enter(self, phase: Phase, step: int) -> None:
        """Say what begins. Until the end of the first step the time since the start, or since loading, goes on."""
        now = time.monotonic()
        before, step_before, beats, since, _ = self._state
        if step != step_before:
            self._keep(step)
        limit = self._step
        if phase in _WRITING:
            limit = self._save
        elif phase in _STEP:
            if self._first_step is None:
                self._first_step = step
            if step == self._first_step:
                limit = self._start
                now = now if before in _WRITING else since
        # One assignment: the watchdog's thread sees the old state or the new one.
        self._state = (phase, step, beats + 1, now, limit)

    def read(self) -> Beat:
        """The state now."""
        phase, step, beats, since, limit = self._state
        seconds = time.monotonic() - since
        return Beat(self.rank, phase, step, beats, seconds, limit, time.time(), self._host, self._process)


SILENT = Heartbeat(0)
"""For whom nobody watches."""


def write_beat(directory: Path, beat: Beat) -> None:
    """Replace the file of a process. Not flushed to disk: it is of no use after a crash of the machine."""
    path = directory / beat_name(beat.rank)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    temporary.write_text(json.dumps(asdict(beat)), encoding="utf-8")
    temporary.replace(path)


def beat_name(rank: int) -> str:
    """File name of a process."""
    return f"rank_{rank:05d}.json"


def step_name(rank: int) -> str:
    """Name of the file that holds a process's step as a number of eight bytes."""
    return f"rank_{rank:05d}.step"


@dataclass(frozen=True)
class Seen:
    """A beat as another process finds it."""

    beat: Beat
    written: float
    """When, by the clock of the file system: comparable with other files there, not with the clock of a machine."""


def read_beats(directory: Path, world: int, since: float = 0.0) -> dict[int, Seen]:
    """Rank -> what it said last, of those that wrote after `since` (of an earlier start there may be files left)."""
    found: dict[int, Seen] = {}
    for rank in range(world):
        path = directory / beat_name(rank)
        try:
            written = path.stat().st_mtime
            if written >= since:
                found[rank] = Seen(Beat(**json.loads(path.read_text(encoding="utf-8"))), written)
        except (OSError, ValueError, TypeError):  # not there yet, or of another version
            continue
    return found


def furthest_step(directory: Path, world: int) -> int:
    """The last step that any process was in."""
    steps = [0]
    for rank in range(world):
        with suppress(OSError):  # it did not come so far
            steps.append(int.from_bytes((directory / step_name(rank)).read_bytes(), "little"))
    return max(steps)
