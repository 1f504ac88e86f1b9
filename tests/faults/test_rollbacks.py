"""Interrupted around a rollback, a run goes back to where the one that was never stopped went back to."""

import signal
from pathlib import Path
from typing import Any

import pytest

from bench.forked_run import ForkedRun
from bench.planned_faults import Fault, Planned
from tests.faults.forked import assert_same_course, write_rows
from trainer.exit_codes import DONE, FAILED, INTERRUPTED

SPIKES = tuple(range(17 * 8, 19 * 8))
"""Samples of the steps 18 and 19."""
SETTINGS: dict[str, Any] = {
    "steps": 26,
    "checkpoint_every": 5,
    "keep_last": 2,
    "stability": {"skip_sigma": 5.0, "window": 8, "rollback_after": 2},
    "parallel": {"data": 2},
}
STOPS = {
    "between the checkpoint and the spike": (16, 17),
    "each step until the spike": (14, 15, 16, 17),
    "while steps are skipped": (18,),
    "before, and while steps are skipped": (16, 17, 18),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ForkedRun:
    folder = tmp_path_factory.mktemp("rollback")
    run = ForkedRun(folder / "whole", write_rows(folder), {"dropout": 0.1}, SETTINGS)
    assert run.start(Planned(spikes=SPIKES)) == DONE, run.events
    (event,) = [event for event in run.events if event["event"] == "rollback"]
    assert (event["step"], event["from_step"], event["samples_left_out"]) == (15, 19, 4 * 8)
    return run


@pytest.mark.parametrize("name", STOPS)
def test_interruptions_do_not_change_where_a_run_goes_back_to(whole: ForkedRun, tmp_path: Path, name: str) -> None:
    run = ForkedRun(tmp_path / "run", whole.tokens, {"dropout": 0.1}, SETTINGS)
    for step in STOPS[name]:
        fault = Fault(step % 2, signal.SIGTERM, "gradient", step=step)
        assert run.start(Planned((fault,), SPIKES)) == INTERRUPTED, run.events
    # Killed once more when it has just gone back, then let alone.
    assert run.start(Planned((Fault(1, signal.SIGKILL, "load", count=2, seconds=0.02),), SPIKES)) == FAILED, run.events
    assert run.start(Planned(spikes=SPIKES)) == DONE, run.events
    assert_same_course(run, whole)
