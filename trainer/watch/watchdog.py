"""Ends a run that hangs, and says which process holds it up.

A thread of each process writes its heartbeat and looks at the clock. Is it in one phase for longer than the limit of
that phase, it prints the stacks of all its threads, compares the heartbeats of all processes, names the one that lags
(silent: it does not even write; else the one that entered the fewest phases), leaves `heartbeat/hang.json`, and ends
with 124. The others see that file and print their stacks too. Without this a hang is found when the time limit of a
collective ends, half an hour later, and names nobody.

Cost: a small file every few seconds a process; the training thread only assigns what it does.
"""

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from pipeline import storage
from trainer.exit_codes import ERROR_PREFIX, HANG
from trainer.settings.watch import WatchSettings
from trainer.watch.heartbeat import HEARTBEATS, Heartbeat, Seen, beat_name, read_beats, write_beat
from trainer.watch.signals import StopRequest

HANG_FILE = "hang.json"
STACK_SIGNAL = signal.SIGUSR2
"""Makes a process print its stacks, also while Python code cannot run."""
_LONGEST_INTERVAL = 5.0
_SHORTEST_INTERVAL = 0.2
_SILENT_INTERVALS = 4.0
_STALE_SECONDS = 60.0
"""A heartbeat so much older than this process is of an earlier start."""


def interval_of(settings: WatchSettings) -> float:
    """Seconds between two looks: a small part of the shortest limit."""
    shortest = 60.0 * min(settings.start_minutes, settings.step_minutes, settings.save_minutes)
    return min(_LONGEST_INTERVAL, max(_SHORTEST_INTERVAL, shortest / 10))


class Watchdog:
    """Watches one process from a thread of its own."""

    def __init__(
        self,
        directory: Path,
        heartbeat: Heartbeat,
        world: int,
        settings: WatchSettings,
        stop: StopRequest,
        stop_at: float | None = None,
    ) -> None:
        """`directory` is the training directory; `stop_at`: when to ask for a stop, as `time.time()` counts."""
        self._directory = directory / HEARTBEATS
        self._heartbeat, self._world, self._stop, self._stop_at = heartbeat, world, stop, stop_at
        self._interval = interval_of(settings)
        self._born = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch.

        Raises:
            StorageError: the run's directory cannot be written.
        """
        faulthandler.register(STACK_SIGNAL, file=sys.stderr, all_threads=True)
        with storage.explained(str(self._directory), "write"):
            self._directory.mkdir(parents=True, exist_ok=True)
            self._heartbeat.open(self._directory)
            write_beat(self._directory, self._heartbeat.read())
        # By the clock of the file system, with which the files of the others are compared.
        self._born = (self._directory / beat_name(self._heartbeat.rank)).stat().st_mtime
        self._thread.start()

    def close(self) -> None:
        """Watch no longer: what is left to do has no limit."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self._look()
            except OSError as error:  # a file system that is away for a moment must not end the watch
                print(f"watchdog: {error}", file=sys.stderr)

    def _look(self) -> None:
        if self._stop_at is not None and time.time() >= self._stop_at:
            self._stop.ask("the time limit is near")
        beat = self._heartbeat.read()
        write_beat(self._directory, beat)
        if beat.seconds > beat.limit:
            self._end(self._explain())
        if self._another_found_it():
            self._end(None)

    def _another_found_it(self) -> bool:
        path = self._directory / HANG_FILE
        return path.exists() and path.stat().st_mtime >= self._born

    def _explain(self) -> str:
        """Name the process that lags, and leave the finding for the others."""
        own = self._heartbeat.read()
        seen = read_beats(self._directory, self._world, self._born - _STALE_SECONDS)
        message = f"{hang_of(own.rank, seen, self._world, self._interval * _SILENT_INTERVALS)}; limit {own.limit:.0f} s"
        if not self._another_found_it():
            path = self._directory / HANG_FILE
            temporary = path.with_name(f".{path.name}-{own.rank}")
            temporary.write_text(json.dumps({"found_by": own.rank, "message": message}) + "\n", encoding="utf-8")
            temporary.replace(path)
        return message

    def _end(self, message: str | None) -> None:
        print("a hang was detected; the stacks of this process:", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        if message is None:
            found = json.loads((self._directory / HANG_FILE).read_text(encoding="utf-8"))
            message = str(found["message"])
        else:
            time.sleep(2 * self._interval)  # so that the others find the file and print their stacks as well
        print(f"{ERROR_PREFIX}{message}", file=sys.stderr, flush=True)
        os._exit(HANG)


def hang_of(asking: int, seen: dict[int, Seen], world: int, silence: float) -> str:
    """Which process holds the run up, as `asking` sees it.

    A process whose file is `silence` seconds older than the newest one does not run at all (stopped, swapping, its
    machine gone); it comes first. Else it is the one that entered the fewest phases.
    """
    if absent := [rank for rank in range(world) if rank not in seen]:
        return f"hang: {_ranks(absent)} did not start (no heartbeat)"
    newest = max(entry.written for entry in seen.values())
    silent = [entry for entry in seen.values() if newest - entry.written > silence]
    if silent:
        first = min(silent, key=lambda entry: entry.written)
        others = f" (as are {len(silent) - 1} more)" if len(silent) > 1 else ""
        return (
            f"hang: {first.beat} has been silent for {newest - first.written:.0f} s{others}, last seen in "
            f"{first.beat.place}: it was stopped, its machine is down, or it cannot reach the run's directory"
        )
    first = min(seen.values(), key=lambda entry: (entry.beat.beats, entry.beat.rank))
    others_at = {entry.beat.place for entry in seen.values() if entry.beat.beats > first.beat.beats}
    if others_at:
        return (
            f"hang: {first.beat} lags in {first.beat.place} for {first.beat.seconds:.0f} s while others are in "
            f"{', '.join(sorted(others_at))}; its stacks are in its log"
        )
    at = seen[asking].beat
    return f"hang: all {world} processes have been in {at.place} for {at.seconds:.0f} s; their stacks are in their logs"


def _ranks(ranks: list[int]) -> str:
    named = ", ".join(str(rank) for rank in ranks[:8])
    return f"rank {named}" if len(ranks) == 1 else f"ranks {named}{', ...' if len(ranks) > 8 else ''}"
