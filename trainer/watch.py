"""What may end a process early: a signal, or the death of the process that started it."""

import os
import signal
import sys
import threading
from types import FrameType

PARENT_PIPE = "GPTMILL_PARENT_PIPE"
"""Environment variable: set when standard input is a pipe that closes when the starting process is gone."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Set by the first signal; the loop asks all processes at the end of each step and saves. A second signal ends
    the process at once, which no checkpoint minds: it is whole or bears no name."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        """Take over SIGINT and SIGTERM."""
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked = True


def end_with_parent() -> None:
    """End this process when the one that started it is gone, even by kill -9, so that none trains on unseen.

    A thread waits for the end of standard input; it works while the main thread waits in a collective.
    """
    if PARENT_PIPE in os.environ:
        threading.Thread(target=_wait_for_end_of_input, daemon=True).start()


def _wait_for_end_of_input() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(1)
