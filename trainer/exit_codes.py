"""How a training process tells the one that started it how it ended."""

DONE = 0
FAILED = 1
BAD_USAGE = 2
INTERRUPTED = 75
"""Stopped by a signal; the last checkpoint is whole and the same command continues (EX_TEMPFAIL: try again)."""
HANG = 124
"""A process stayed in one phase for longer than its limit."""

ERROR_PREFIX = "gptmill error: "
"""Starts the last line of a process's log when it ended with an error that is explained to the user."""
