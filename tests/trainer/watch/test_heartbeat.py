"""Heartbeats, and whom they show to hold a run up."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.settings.watch import WatchSettings
from trainer.watch.heartbeat import Beat, Heartbeat, Phase, Seen, furthest_step, read_beats, write_beat
from trainer.watch.time_limit import stop_time
from trainer.watch.watchdog import hang_of, interval_of

SETTINGS = WatchSettings(start_minutes=3, step_minutes=1, save_minutes=2)


def seen(rank: int, phase: Phase, step: int, beats: int, age: float = 0.0, seconds: float = 70.0) -> Seen:
    return Seen(Beat(rank, phase, step, beats, seconds, 60.0, 0.0, f"host{rank}", 100 + rank), 1000.0 - age)


def test_each_phase_has_its_limit_and_the_first_step_belongs_to_the_start() -> None:
    heartbeat = Heartbeat(0, SETTINGS)
    assert heartbeat.read().limit == 180.0
    for phase, step, limit in (
        ("load", 0, 120.0),
        ("data", 7, 180.0),
        ("gradient", 7, 180.0),
        ("update", 7, 180.0),
        ("validation", 8, 60.0),
        ("data", 8, 60.0),
        ("gradient", 8, 60.0),
        ("save", 9, 120.0),
        ("data", 9, 60.0),
        ("end", 10, 120.0),
    ):
        heartbeat.enter(phase, step)  # type: ignore[arg-type]
        assert heartbeat.read().limit == limit, (phase, step)
    assert heartbeat.read().beats == 11


def test_the_time_of_the_start_goes_on_through_the_first_step_and_then_each_phase_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("trainer.watch.heartbeat.time.monotonic", lambda: now)
    heartbeat = Heartbeat(0, SETTINGS)
    now += 5.0
    heartbeat.enter("data", 0)
    now += 1.0
    heartbeat.enter("gradient", 0)
    assert heartbeat.read().seconds == 6.0
    heartbeat.enter("data", 1)
    now += 0.5
    assert heartbeat.read().seconds == 0.5


def test_beats_are_read_back_and_those_of_an_earlier_start_are_not(tmp_path: Path) -> None:
    for rank in (0, 2):
        heartbeat = Heartbeat(rank, SETTINGS)
        heartbeat.enter("gradient", 11 + rank)
        write_beat(tmp_path, heartbeat.read())
    os.utime(tmp_path / "rank_00000.json", (1.0, 1.0))
    (tmp_path / "rank_00001.json").write_text("half a li")
    assert set(read_beats(tmp_path, 3)) == {0, 2}
    assert set(read_beats(tmp_path, 3, since=2.0)) == {2}
    assert set(read_beats(tmp_path, 2)) == {0}


def test_the_step_is_known_exactly_after_kill_9(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from trainer.watch.heartbeat import Heartbeat\n"
        f"heartbeat = Heartbeat(1); heartbeat.open(Path({str(tmp_path)!r}))\n"
        "[heartbeat.enter('data', step) for step in range(70_001)]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert furthest_step(tmp_path, 3) == 70_000
    assert furthest_step(tmp_path / "nothing", 3) == 0


def test_a_silent_process_is_named_before_one_that_lags() -> None:
    found = {0: seen(0, "gradient", 4, 20), 1: seen(1, "gradient", 4, 20, age=9.0), 2: seen(2, "data", 4, 19)}
    message = hang_of(0, found, 3, silence=2.0)
    assert "rank 1 (host1, process 101) has been silent for 9 s, last seen in gradient of step 5" in message


def test_the_process_with_the_fewest_phases_lags() -> None:
    found = {0: seen(0, "update", 4, 21), 1: seen(1, "data", 4, 19), 2: seen(2, "gradient", 4, 20)}
    message = hang_of(0, found, 3, silence=2.0)
    assert "rank 1 (host1, process 101) lags in data of step 5 for 70 s" in message
    assert "while others are in gradient of step 5, update of step 5" in message


def test_when_all_wait_at_the_same_place_none_is_blamed() -> None:
    found = {0: seen(0, "save", 4, 20), 1: seen(1, "save", 4, 20)}
    assert "all 2 processes have been in save of step 5 for 70 s" in hang_of(1, found, 2, silence=2.0)


def test_a_process_that_never_wrote_did_not_start() -> None:
    assert "hang: ranks 1, 2 did not start" in hang_of(0, {0: seen(0, "start", 0, 1)}, 3, silence=2.0)


def test_the_watchdog_looks_a_few_times_within_the_shortest_limit() -> None:
    assert interval_of(WatchSettings()) == 5.0
    assert interval_of(WatchSettings(step_minutes=0.1)) == pytest.approx(0.6)
    assert interval_of(WatchSettings(step_minutes=0.001)) == 0.2


def test_the_end_is_the_recipes_else_slurms_else_never() -> None:
    limits = WatchSettings(end_after_minutes=10, save_before_end_minutes=2)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "5000"}
    assert stop_time(limits, 1000.0, slurm) == 1000.0 + 8 * 60
    assert stop_time(WatchSettings(), 1000.0, slurm) == 5000.0 - 5 * 60
    assert stop_time(WatchSettings(), 1000.0, {}) is None
    asked = []

    def scontrol(job: str) -> str:
        asked.append(job)
        return "JobId=7 JobName=x TimeLimit=01:00:00 StartTime=2026-01-02T03:00:00 EndTime=2026-01-02T04:00:00 Dir=/a=b"

    end = time.mktime((2026, 1, 2, 4, 0, 0, 0, 0, -1))
    assert stop_time(WatchSettings(), 0.0, {"SLURM_JOB_ID": "7"}, scontrol) == end - 300
    assert asked == ["7"]
    assert stop_time(WatchSettings(), 0.0, {"SLURM_JOB_ID": "7"}, lambda _: "EndTime=Unknown") is None
    assert stop_time(WatchSettings(), 0.0, {"SLURM_JOB_ID": "7"}, lambda _: None) is None


HANGING = """
import sys, time
from pathlib import Path
from trainer.settings.watch import WatchSettings
from trainer.watch.heartbeat import Heartbeat
from trainer.watch.signals import StopRequest
from trainer.watch.watchdog import Watchdog

directory, rank, phase = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
settings = WatchSettings(start_minutes=5, step_minutes=0.05, save_minutes=5)
stop = StopRequest()
stop.listen()
heartbeat = Heartbeat(rank, settings)
Watchdog(directory, heartbeat, 2, settings, stop, time.time() + 0.3).start()
heartbeat.enter("data", 0)
print("ready", flush=True)
sys.stdin.readline()
heartbeat.enter("data", 1)
if phase != "data":
    heartbeat.enter(phase, 1)

def waits_for_ever():
    while True:
        time.sleep(0.1)
        if stop.reason:
            (directory / f"asked{rank}").write_text(stop.reason)

waits_for_ever()
"""


def test_hanging_processes_print_their_stacks_name_the_one_that_lags_and_end_with_124(tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", HANGING, str(tmp_path), str(rank), phase],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(tmp_path / f"log{rank}").open("wb"),
        )
        for rank, phase in enumerate(("gradient", "data"))
    ]
    # Both are there before the limit of a step begins to count.
    assert [child.stdout.readline() for child in children if child.stdout] == [b"ready\n"] * 2
    for child in reversed(children):
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    assert [child.wait(timeout=60) for child in children] == [124, 124]
    logs = [(tmp_path / f"log{rank}").read_text() for rank in (0, 1)]
    for log in logs:
        assert "in waits_for_ever" in log, "all processes print their stacks"
        assert log.splitlines()[-1].startswith("gptmill error: hang: rank 1 (")
        assert "lags in data of step 2" in log.splitlines()[-1]
    assert "rank 1" in json.loads((tmp_path / "heartbeat" / "hang.json").read_text())["message"]
    assert (tmp_path / "asked0").read_text() == "the time limit is near", "the time limit asks for a stop"


def test_the_second_signal_ends_a_process_at_once_the_first_only_asks(tmp_path: Path) -> None:
    code = (
        "import os, signal, time; from trainer.watch.signals import StopRequest\n"
        "stop = StopRequest(); stop.listen(); stop.ask('the time limit is near')\n"
        "os.kill(os.getpid(), signal.SIGUSR1); assert stop.asked and stop.reason == 'the time limit is near'\n"
        "print('on', flush=True); os.kill(os.getpid(), signal.SIGUSR1); time.sleep(5)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("on\n", 128 + 10)
