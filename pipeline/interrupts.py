"""Stopping on request: the first SIGINT, SIGTERM or SIGUSR1 asks for a clean stop, the second stops at once.

SIGUSR1 is what schedulers are told to send some minutes before a job's end.

A long loop looks at `StopRequest.pending` where it can stop without losing work. After the second signal
`StoppedAtOnce` is raised wherever the program is, except inside `patiently`: foreign code that is interrupted in the
middle may swallow an exception, so a loop around it looks at `immediate` by itself. Every file is written atomically,
so nothing half-done is read later.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


class StoppedAtOnce(BaseException):
    """The second signal. No `Exception`, so that no handler of ordinary errors takes it for one."""


class StopRequest:
    """Context manager that turns signals into a request which work can answer at a safe place."""

    def __init__(self) -> None:
        self.pending = False
        """Whether a stop was asked for."""
        self.immediate = False
        """Whether it was asked for twice."""
        self._patient = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """A block that answers `immediate` itself, within a second, by calling `check`."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def check(self) -> None:
        """Raise `StoppedAtOnce` when a stop was asked for twice."""
        if self.immediate:
            raise StoppedAtOnce

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.pending:
            self.immediate = True
            if not self._patient:
                raise StoppedAtOnce
            return
        self.pending = True
        name = signal.Signals(number).name
        print(f"{name}: finishing the work in hand, then stopping; once more stops at once", file=sys.stderr)
