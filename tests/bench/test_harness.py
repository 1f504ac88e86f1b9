"""The harness: CPU time of a whole tree is found however its processes end, and the verdict is one line of JSON."""

from __future__ import annotations

import json
import sys

import pytest

from bench.harness import Claim, Measured, disturbance, measure, table_rows
from pipeline.errors import UserError

BURN = """
import time
def burn(seconds):
    while time.process_time() < seconds:
        pass
"""


def run(code: str) -> Measured:
    return measure([sys.executable, "-c", BURN + code])


def test_the_cpu_time_of_a_busy_loop_is_found_to_a_tick() -> None:
    measured = run("burn(0.5)")
    assert 0.5 <= measured.cpu_seconds < 0.7
    assert measured.wall_seconds >= 0.5
    assert measured.processes == 1
    assert 3e6 < measured.peak_pss_bytes <= measured.peak_rss_bytes < 1e8


def test_memory_that_is_held_for_a_moment_is_seen_and_told_apart_from_files() -> None:
    # Held long enough to be seen by a meter that must wait for a core.
    before = run("time.sleep(2)")
    measured = run("held = b'x' * 60_000_000\ntime.sleep(2)\ndel held\ntime.sleep(0.2)")
    assert 55e6 < measured.peak_anonymous_bytes - before.peak_anonymous_bytes < 65e6
    assert measured.peak_anonymous_bytes < measured.peak_rss_bytes


@pytest.mark.parametrize(
    "start",
    [
        "child = os.fork()\nif not child: burn(0.6)\nelse: os.waitpid(child, 0)",
        # A daemon: in a session of its own, its parent gone before it ends.
        "if not os.fork():\n os.setsid()\n if not os.fork(): burn(0.6)",
        # Its time never reaches the parent's account; Ray starts its workers so.
        # The sleep lets the meter see it at the end: what is used after its last sample is lost.
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif not os.fork():\n burn(0.6)\n time.sleep(1)\nelse:\n"
        " try: os.wait()\n except ChildProcessError: burn(0.05)",
    ],
    ids=["a child", "a daemon", "a child whose parent ignores SIGCHLD"],
)
def test_the_cpu_time_of_descendants_counts(start: str) -> None:
    measured = run("import os, signal\n" + start)
    assert 0.5 <= measured.cpu_seconds < 0.9
    assert measured.processes >= 2


def test_a_command_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(UserError, match=r"exit code 3; its last words:\n  no such mill"):
        run("import sys\nprint('no such mill', file=sys.stderr)\nsys.exit(3)")


def test_the_last_line_tells_figures_and_goals(capsys: pytest.CaptureFixture[str]) -> None:
    claim = Claim("mill")
    claim.figure("speed_up", [1.5, 1.9, 1.7])
    claim.goal("speed_up", at_least=1.6)
    claim.figure("identical", True)
    claim.goal("identical", equals=True)
    claim.figure("seconds", 2.34567, "s")
    assert claim.finish() == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "bench": "mill",
        "goals_met": True,
        "figures": {"speed_up": {"median": 1.7, "low": 1.5, "high": 1.9}, "identical": True, "seconds": 2.346},
        "goals": {"speed_up": {"at_least": 1.6, "met": True}, "identical": {"equals": True, "met": True}},
    }


def test_a_missed_goal_fails_the_benchmark() -> None:
    claim = Claim("mill")
    claim.figure("seconds", 5.0)
    claim.goal("seconds", at_most=4.0)
    assert claim.finish() == 1
    assert table_rows(claim.result()) == [("seconds", "5", "", "at most 4.0: NOT MET")]


def test_a_goal_that_cannot_be_judged_says_why_and_neither_meets_nor_fails() -> None:
    claim = Claim("mill")
    claim.figure("speed_up", 1.0)
    claim.goal("speed_up", at_least=1.5, unjudged="other processes used up to 1.4 cores meanwhile")
    goal = claim.result()["goals"]["speed_up"]
    assert goal["met"] is None
    assert "1.4 cores" in goal["not_judged"]
    assert claim.finish() == 0


def test_wall_times_beside_busy_neighbours_are_not_believed() -> None:
    quiet, beside = (Measured(1.0, 1.0, 1, 1, 1, 1, others) for others in (0.05, 1.3))
    assert disturbance([quiet]) is None
    assert disturbance([quiet, beside]) == "other processes used up to 1.3 cores meanwhile"
    assert "needs 100000 cores" in str(disturbance([quiet], cores=100_000))
