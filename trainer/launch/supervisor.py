"""Starts a run again after it failed, from its last good checkpoint, until it is plain that this does not help.

Not after bad usage or an interruption, which the user meant. The wait doubles from start to start, so that a file
system or a network that is away for minutes does not use up all restarts at once. A run that fails `SAME_STEP` times
at the same step would fail there for ever: it is given up, however many restarts are left.
"""

import time
from collections.abc import Callable

from trainer.exit_codes import FAILED, HANG, INTERRUPTED
from trainer.launch.family import OnEvent
from trainer.launch.requests import AskedBefore, StopSignals, nobody_asked

SAME_STEP = 3
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 300.0
_POLL_SECONDS = 0.1


def supervise(
    start: Callable[[StopSignals], int],
    step_reached: Callable[[], int],
    restarts: int,
    on_event: OnEvent,
    first_wait: float = FIRST_WAIT_SECONDS,
    asked_before: AskedBefore = nobody_asked,
) -> int:
    """Call `start` until it ends well, is interrupted, or has failed too often; returns its last exit code.

    `step_reached` says in which step the run was when it failed. Nothing is started when a stop was asked for before.
    """
    failures_at: dict[int, int] = {}
    attempt = 0
    with StopSignals() as signals:
        if asked_before():
            return INTERRUPTED
        while True:
            code = start(signals)
            if code not in (FAILED, HANG) or signals.received:
                return code
            step = step_reached()
            failures_at[step] = failures_at.get(step, 0) + 1
            if not restarts:
                return code
            if failures_at[step] >= SAME_STEP:
                on_event(
                    {
                        "event": "gave_up",
                        "step": step,
                        "message": f"failed {SAME_STEP} times in step {step + 1}: not started again",
                    }
                )
                return code
            if attempt == restarts:
                on_event({"event": "gave_up", "step": step, "message": f"all {restarts} restarts are used up"})
                return code
            wait = min(LONGEST_WAIT_SECONDS, first_wait * 2.0**attempt)
            attempt += 1
            on_event(
                {
                    "event": "restart",
                    "attempt": attempt,
                    "of": restarts,
                    "code": code,
                    "step": step,
                    "wait_seconds": wait,
                    "message": f"failed in step {step + 1} (exit code {code}): restart {attempt} of {restarts} from "
                    f"the last good checkpoint in {wait:g} s",
                }
            )
            if _interrupted_while_waiting(signals, wait):
                return code


def _interrupted_while_waiting(signals: StopSignals, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not signals.received:
        time.sleep(_POLL_SECONDS)
    return signals.received > 0
