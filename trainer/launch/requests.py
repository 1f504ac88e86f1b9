"""Signals to the process that started a run are requests to the run."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from trainer.watch.signals import SIGNALS


class StopSignals:
    """While entered, counts SIGINT, SIGTERM and SIGUSR1: one asks the run to save and end, two end it at once.

    Only the main thread can; elsewhere nothing is ever received.
    """

    def __init__(self) -> None:
        self.received = 0
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

    def _receive(self, _: int, __: FrameType | None) -> None:
        self.received += 1
