"""Signals to the process that started a run are requests to the run."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from trainer.watch.signals import SIGNALS

AskedBefore = Callable[[], bool]
"""Whether a stop was asked for before `StopSignals` listened: whoever prepared the run had the signals until then."""


def nobody_asked() -> bool:
    """No stop was asked for before."""
    return False


class StopSignals:
    """While entered, counts SIGINT, SIGTERM and SIGUSR1: one asks the run to save and end, two end it at once.

    Only the main thread can; elsewhere nothing is ever received.
    """

    def __init__(self) -> None:
        self.received = 0
        self.name = ""
        """Of the last one: SIGTERM."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self.received += 1
