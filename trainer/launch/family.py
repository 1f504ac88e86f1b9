"""Waiting for the processes of a run: pass on what they say, forward a stop, and end them all together.

The same for processes of this machine and for actors of Ray: only how they are asked differs (`Members`). When one
fails the others are ended, and the error names it and says why: a process that was killed or that explains itself is
the cause, the others are its consequences. A process that does not run any more without having ended (SIGSTOP, a
machine that swaps) is found by its heartbeat; the processes themselves look for that too and know more, so they are
given a little longer.
"""

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from trainer.exit_codes import BAD_USAGE, DONE, FAILED, HANG, INTERRUPTED
from trainer.launch.process import Report, log_of
from trainer.launch.requests import StopSignals
from trainer.settings.watch import WatchSettings
from trainer.watch.heartbeat import HEARTBEATS, read_beats
from trainer.watch.watchdog import hang_of, interval_of

GRACE_SECONDS = 20.0
"""How long processes may take to end after the first one ended well."""
SETTLE_SECONDS = 2.0
"""How long a failure that nobody explains may wait for the one that caused it."""
STACK_SECONDS = 0.5
"""How long a process has to write its stacks before it is killed."""

OnEvent = Callable[[dict[str, Any]], None]


class Members(Protocol):
    """The processes of a run, by rank."""

    def reports(self) -> Sequence[Report]:
        """What is known of each, after waiting a moment for news."""

    def ask_to_stop(self) -> None:
        """Let all finish the step, save and end."""

    def print_stacks(self, ranks: Sequence[int]) -> None:
        """Make these write their stacks to their logs."""

    def kill(self) -> None:
        """End what is left."""


class Family:
    """All processes of one start of a run."""

    def __init__(
        self, members: Members, job_file: Path, world: int, watch: WatchSettings, signals: StopSignals
    ) -> None:
        self._members, self._world, self._signals = members, world, signals
        self._job_file = job_file
        self._heartbeats = job_file.parent / HEARTBEATS
        self._interval = interval_of(watch)
        self._start_limit = 60.0 * watch.start_minutes
        self._started = time.time()
        self._next_look = time.monotonic() + self._interval

    def wait(self, on_event: OnEvent, tell: OnEvent) -> int:
        """Pass on the processes' events until all have ended, `tell` what became of them; returns the exit code."""
        forwarded = False
        first_end: float | None = None
        while True:
            reports = self._members.reports()
            for event in [event for report in reports for event in report.events]:
                on_event(event)
            if self._signals.received > 1:
                tell({"event": "stopped_at_once", "message": f"{self._signals.name}: stopped at once, without saving"})
                return INTERRUPTED
            if self._signals.received and not forwarded:
                forwarded = True
                self._members.ask_to_stop()
                promise = f"{self._signals.name}: finishing the step and saving, then stopping; once more stops at once"
                on_event({"event": "stopping", "message": promise})
            codes = [report.code for report in reports]
            if any(report.lost for report in reports) or any(code not in (None, DONE, INTERRUPTED) for code in codes):
                return self._fail(self._settled(reports, on_event), on_event, tell)
            if all(code is not None for code in codes):
                return max(code for code in codes if code is not None)
            if any(code is not None for code in codes):
                first_end = first_end or time.monotonic()
                if time.monotonic() - first_end > GRACE_SECONDS:
                    return INTERRUPTED if INTERRUPTED in codes else self._fail(reports, on_event, tell)
            elif (message := self._hang()) is not None:
                return self._end_hang(message, None, on_event, tell)

    def _settled(self, reports: Sequence[Report], on_event: OnEvent) -> Sequence[Report]:
        """The reports once the cause is known: its consequences may be seen a moment earlier."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not any(_is_cause(report) for report in reports) and time.monotonic() < deadline:
            reports = self._members.reports()
            for event in [event for report in reports for event in report.events]:
                on_event(event)
        return reports

    def _fail(self, reports: Sequence[Report], on_event: OnEvent, tell: OnEvent) -> int:
        """Tell why."""
        ended = {rank: report for rank, report in enumerate(reports) if report.code is not None or report.lost}
        rank = min(ended, key=lambda rank: _suspicion(ended[rank], rank))
        report = ended[rank]
        if report.code == HANG:
            return self._end_hang(report.explanation or "hang", rank, on_event, tell)
        message = report.explanation or report.lost
        if message is None:
            message = f"training process {rank} {_how(report)}; last lines of {log_of(self._job_file, rank)}: "
            message += report.last_lines or "(none)"
        tell({"event": "error", "rank": rank, "message": message})
        return BAD_USAGE if report.code == BAD_USAGE else FAILED

    def _end_hang(self, message: str, rank: int | None, on_event: OnEvent, tell: OnEvent) -> int:
        """Let those that can print their stacks, then tell; the caller kills."""
        time.sleep(2 * self._interval)
        reports = self._members.reports()
        for event in [event for report in reports for event in report.events]:
            on_event(event)
        running = [rank for rank, report in enumerate(reports) if report.code is None]
        if running:
            self._members.print_stacks(running)
            time.sleep(STACK_SECONDS)
        tell({"event": "error", "rank": rank, "message": f"{message}. Stacks: {self._job_file.parent / 'logs'}"})
        return HANG

    def _hang(self) -> str | None:
        """What the heartbeats say of processes that cannot say it themselves."""
        if time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + self._interval
        now, margin = time.time(), 6 * self._interval
        seen = read_beats(self._heartbeats, self._world)
        late = [
            rank for rank, entry in seen.items() if now - entry.written + entry.beat.seconds > entry.beat.limit + margin
        ]
        if len(seen) < self._world and now - self._started > self._start_limit + margin:
            late += [rank for rank in range(self._world) if rank not in seen]
        if not late:
            return None
        if len(late) == self._world == len(seen) and all(now - entry.written > margin for entry in seen.values()):
            places = sorted({entry.beat.place for entry in seen.values()})
            return f"hang: all {self._world} processes have been silent for {margin:.0f} s, last in {', '.join(places)}"
        return hang_of(min(late), seen, self._world, margin / 2)


def _is_cause(report: Report) -> bool:
    killed = report.code is not None and report.code < 0
    return bool(report.lost or killed or report.explanation)


def _suspicion(report: Report, rank: int) -> tuple[bool, bool, bool, bool, int]:
    """Smallest for the process that is most likely the cause."""
    killed = report.code is not None and report.code < 0
    return (report.lost is None, not killed, report.explanation is None, report.code == DONE, rank)


def _how(report: Report) -> str:
    code = report.code
    assert code is not None
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = " (by hand, or by the system when memory ran out: see `dmesg`)" if -code == signal.SIGKILL else ""
    return f"was ended by {name}{hint}"
