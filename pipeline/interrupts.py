"""Stopping on request: the first SIGINT or SIGTERM asks for a clean stop, the second stops at once.

A long loop looks at `StopRequest.pending` where it can stop without losing work. After the second signal
`KeyboardInterrupt` is raised wherever the program is: every file is written atomically, so nothing half-done is read
later.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Context manager that turns signals into a request which work can answer at a safe place."""

    def __init__(self) -> None:
        self.pending = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True
        name = signal.Signals(number).name
        print(f"{name}: finishing the work in hand, then stopping; once more stops at once", file=sys.stderr)
