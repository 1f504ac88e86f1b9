"""Which process is blamed, and how a run ends, whatever runs its processes."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from trainer.exit_codes import BAD_USAGE, DONE, FAILED, HANG, INTERRUPTED
from trainer.launch import family
from trainer.launch.family import Family
from trainer.launch.process import Report
from trainer.launch.requests import StopSignals
from trainer.settings.watch import WatchSettings
from trainer.watch.heartbeat import HEARTBEATS, Heartbeat, beat_name, write_beat


@dataclass
class Told:
    """Members that report what they are told to, turn by turn; the last turn stays."""

    turns: list[list[Report]]
    asked: list[str] = field(default_factory=list)

    def reports(self) -> Sequence[Report]:
        return self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]

    def ask_to_stop(self) -> None:
        self.asked.append("stop")

    def print_stacks(self, ranks: Sequence[int]) -> None:
        self.asked.append(f"stacks {list(ranks)}")

    def kill(self) -> None:
        self.asked.append("kill")


def wait(members: Told, directory: Path, watch: WatchSettings | None = None, signals: int = 0) -> tuple[int, list[Any]]:
    events: list[Any] = []
    requests = StopSignals()
    requests.received = signals
    world = len(members.turns[0])
    code = Family(members, directory / "job.json", world, watch or WatchSettings(), requests).wait(
        events.append, events.append
    )
    return code, events


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(family, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(family, "STACK_SECONDS", 0.0)


RUNS = Report()


def test_events_pass_through_and_all_ending_well_is_the_end(tmp_path: Path) -> None:
    first = Report(events=[{"event": "step", "step": 1}])
    members = Told([[first, RUNS], [Report(0, events=[{"event": "done"}]), RUNS], [Report(0), Report(0)]])
    code, events = wait(members, tmp_path)
    assert (code, events) == (DONE, [{"event": "step", "step": 1}, {"event": "done"}])


@pytest.mark.parametrize(
    ("reports", "blamed", "said"),
    [
        ([Report(1, last_lines="gloo: closed"), Report(-9)], 1, "was ended by SIGKILL (by hand, or by the system"),
        ([Report(1, last_lines="gloo"), Report(1, explanation="the disk is full")], 1, "the disk is full"),
        ([Report(-9), RUNS, Report(lost="the actor of rank 2 is gone")], 2, "the actor of rank 2 is gone"),
        ([RUNS, Report(3, last_lines="a | b")], 1, "training process 1 ended with exit code 3; last lines of"),
    ],
)
def test_the_cause_is_blamed_not_its_consequences(
    tmp_path: Path, reports: list[Report], blamed: int, said: str
) -> None:
    code, (error,) = wait(Told([reports]), tmp_path)
    assert (code, error["event"], error["rank"]) == (FAILED, "error", blamed)
    assert said in error["message"]


def test_a_cause_that_is_seen_a_moment_later_is_still_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "SETTLE_SECONDS", 60.0)  # the cause ends the waiting
    failed, killed = Report(1, last_lines="connection closed"), Report(-9)
    _, (error,) = wait(Told([[RUNS, RUNS], [failed, RUNS], [failed, RUNS], [failed, killed]]), tmp_path)
    assert error["rank"] == 1


def test_bad_usage_of_a_process_is_that_of_the_run(tmp_path: Path) -> None:
    assert wait(Told([[Report(BAD_USAGE, explanation="no job"), RUNS]]), tmp_path)[0] == BAD_USAGE


def test_a_signal_is_forwarded_once_and_the_second_ends_at_once(tmp_path: Path) -> None:
    members = Told([[RUNS, RUNS], [RUNS, RUNS], [Report(INTERRUPTED), Report(INTERRUPTED)]])
    assert wait(members, tmp_path, signals=1)[0] == INTERRUPTED
    assert members.asked == ["stop"]
    members = Told([[RUNS, RUNS]])
    assert wait(members, tmp_path, signals=2)[0] == INTERRUPTED
    assert members.asked == []


def test_a_process_that_stays_behind_when_the_others_have_saved_does_not_hold_the_run(tmp_path: Path) -> None:
    assert wait(Told([[Report(INTERRUPTED), RUNS]]), tmp_path)[0] == INTERRUPTED
    code, (error,) = wait(Told([[Report(DONE), RUNS]]), tmp_path)
    assert (code, error["event"]) == (FAILED, "error")


def test_processes_that_write_no_heartbeat_any_more_are_a_hang_with_their_stacks(tmp_path: Path) -> None:
    watch = WatchSettings(start_minutes=0.002, step_minutes=0.002, save_minutes=0.002)
    directory = tmp_path / HEARTBEATS
    directory.mkdir()
    for rank in (0, 1):
        write_beat(directory, Heartbeat(rank, watch).read())
        an_hour_ago = time.time() - 3600
        os.utime(directory / beat_name(rank), (an_hour_ago, an_hour_ago))
    members = Told([[RUNS, RUNS]])
    code, (error,) = wait(members, tmp_path, watch)
    assert code == HANG
    assert "hang: all 2 processes have been silent" in error["message"]
    assert members.asked == ["stacks [0, 1]"]


def test_a_process_that_never_started_is_a_hang(tmp_path: Path) -> None:
    watch = WatchSettings(start_minutes=0.002, step_minutes=10, save_minutes=10)
    (tmp_path / HEARTBEATS).mkdir()
    write_beat(tmp_path / HEARTBEATS, Heartbeat(0, WatchSettings()).read())
    code, (error,) = wait(Told([[RUNS, RUNS]]), tmp_path, watch)
    assert code == HANG
    assert "rank 1 did not start (no heartbeat)" in error["message"]


def test_a_hang_that_a_process_found_is_told_in_its_words(tmp_path: Path) -> None:
    found = Report(HANG, explanation="hang: rank 1 (host, process 7) lags in data of step 5")
    members = Told([[found, RUNS]])
    code, (error,) = wait(members, tmp_path, WatchSettings(step_minutes=0.001))
    assert code == HANG
    assert error["message"].startswith("hang: rank 1 (host, process 7) lags in data of step 5. Stacks: ")
    assert members.asked == ["stacks [1]"]
