"""No training process outlives the one that started it."""

import os
import sys
import threading

PARENT_PIPE = "GPTMILL_PARENT_PIPE"
"""Environment variable: set when standard input is a pipe that closes when the starting process is gone."""


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
