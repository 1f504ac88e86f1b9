"""When a run is started again, and when not."""

import os
import signal
import threading
import time
from typing import Any

import pytest

from trainer.launch.requests import StopSignals
from trainer.launch.supervisor import supervise


class Runs:
    """Ends as told, start by start: (exit code, step reached)."""

    def __init__(self, *ends: tuple[int, int]) -> None:
        self.ends, self.starts, self.step = list(ends), 0, 0
        self.events: list[dict[str, Any]] = []

    def start(self, _: StopSignals) -> int:
        code, self.step = self.ends[self.starts]
        self.starts += 1
        return code

    def supervised(self, restarts: int) -> int:
        return supervise(self.start, lambda: self.step, restarts, self.events.append, first_wait=0.001)

    def kinds(self) -> list[str]:
        return [event["event"] for event in self.events]


@pytest.mark.parametrize("code", [0, 2, 75])
def test_an_end_that_was_meant_is_final(code: int) -> None:
    runs = Runs((code, 3))
    assert runs.supervised(5) == code
    assert (runs.starts, runs.events) == (1, [])


@pytest.mark.parametrize("code", [1, 124])
def test_a_failure_or_a_hang_is_started_again_with_waits_that_double(code: int) -> None:
    runs = Runs((code, 3), (code, 8), (code, 9), (0, 20))
    assert runs.supervised(5) == 0
    assert runs.kinds() == ["restart"] * 3
    waits = [event["wait_seconds"] for event in runs.events]
    assert waits == [0.001, 0.002, 0.004]
    assert "failed in step 4" in runs.events[0]["message"]
    assert "restart 1 of 5" in runs.events[0]["message"]


def test_it_gives_up_when_all_restarts_are_used() -> None:
    runs = Runs((1, 1), (1, 2), (1, 3))
    assert runs.supervised(2) == 1
    assert runs.starts == 3
    assert runs.kinds() == ["restart", "restart", "gave_up"]


def test_it_gives_up_after_three_failures_at_the_same_step_whatever_lies_between() -> None:
    runs = Runs((1, 5), (1, 5), (124, 2), (1, 5), (0, 0))
    assert runs.supervised(99) == 1
    assert runs.starts == 4
    assert runs.events[-1]["message"] == "failed 3 times in step 6: not started again"


def test_without_restarts_a_failure_is_final_and_silent() -> None:
    runs = Runs((1, 5))
    assert (runs.supervised(0), runs.events) == (1, [])


def test_a_signal_while_waiting_ends_the_wait() -> None:
    runs = Runs((1, 5))

    def terminate_soon(event: dict[str, Any]) -> None:
        assert event["event"] == "restart", "from now on it waits"
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()

    started = time.monotonic()
    assert supervise(runs.start, lambda: 5, 3, terminate_soon, first_wait=300.0) == 1
    assert time.monotonic() - started < 150
    assert runs.starts == 1
