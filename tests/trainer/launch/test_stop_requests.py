"""A signal is never lost, whenever it comes, and the user is told what it did."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.exit_codes import INTERRUPTED
from trainer.launch.family import Family
from trainer.launch.process import Report
from trainer.launch.requests import StopSignals
from trainer.launch.supervisor import supervise
from trainer.settings.watch import WatchSettings


class Members:
    """Two processes that run until they are asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def reports(self) -> Sequence[Report]:
        return [Report(INTERRUPTED if self.asked else None)] * 2

    def ask_to_stop(self) -> None:
        self.asked = True

    def print_stacks(self, ranks: Sequence[int]) -> None: ...

    def kill(self) -> None: ...


def wait(directory: Path, *numbers: signal.Signals) -> tuple[list[Any], list[Any]]:
    """What was shown and what was recorded of a run that gets these signals."""
    shown: list[Any] = []
    recorded: list[Any] = []
    with StopSignals() as signals:
        for number in numbers:
            signal.raise_signal(number)
        family = Family(Members(), directory / "job.json", 2, WatchSettings(), signals)
        assert family.wait(shown.append, recorded.append) == INTERRUPTED
    return shown, recorded


def test_a_stop_that_was_asked_for_while_a_run_was_prepared_starts_nothing() -> None:
    started: list[StopSignals] = []

    def start(signals: StopSignals) -> int:
        started.append(signals)
        return 0

    assert supervise(start, lambda: 0, 3, lambda _: None, asked_before=lambda: True) == INTERRUPTED
    assert not started
    assert supervise(start, lambda: 0, 3, lambda _: None, asked_before=lambda: False) == 0
    assert started


def test_a_signal_is_answered_at_once_by_saying_what_happens_now(tmp_path: Path) -> None:
    shown, recorded = wait(tmp_path, signal.SIGUSR1)
    assert [event["event"] for event in shown] == ["stopping"]
    assert shown[0]["message"].startswith("SIGUSR1: finishing the step and saving")
    assert recorded == []


def test_a_second_signal_is_not_said_to_have_saved(tmp_path: Path) -> None:
    shown, recorded = wait(tmp_path, signal.SIGINT, signal.SIGTERM)
    assert shown == []
    assert recorded == [{"event": "stopped_at_once", "message": "SIGTERM: stopped at once, without saving"}]
