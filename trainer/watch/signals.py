"""Being asked to stop: by a signal, or because the time is up.

The request alone changes nothing. The loop adds up the requests of all processes at the end of each step, so that all
stop at the same one, save, and exit with 75.
"""

import os
import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""SIGUSR1 is what schedulers are told to send some minutes before a job's end."""


class StopRequest:
    """Set by the first signal; the loop asks all processes at the end of each step and saves. A second signal ends
    the process at once, which no checkpoint minds: it is whole or bears no name."""

    def __init__(self) -> None:
        self.asked = False
        self.reason = ""
        """Who asked, for the event that tells of it."""
        self._signals = 0

    def listen(self) -> None:
        """Take over SIGINT, SIGTERM and SIGUSR1; only the main thread may."""
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def ask(self, reason: str) -> None:
        """Ask from within; the first reason stays."""
        if not self.asked:
            self.reason = reason
        self.asked = True

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            os._exit(128 + number)
        self.ask(signal.Signals(number).name)
