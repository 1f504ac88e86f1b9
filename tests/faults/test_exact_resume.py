"""Interrupted anywhere and any number of times, a run is bit for bit the one that was never stopped, in each layout."""

import signal
from pathlib import Path
from typing import Any

import pytest

from bench.forked_run import ForkedRun
from bench.planned_faults import Fault, Planned
from tests.faults.forked import ROWS, assert_same_course, write_rows
from trainer.exit_codes import DONE, FAILED, INTERRUPTED

STEPS = 40
LAYOUTS: dict[str, dict[str, Any]] = {
    "data 2": {"parallel": {"data": 2}},
    "ZeRO 3": {"parallel": {"data": 2}, "zero": 3},
    "data 2, tensor 2, pipeline 2": {"parallel": {"data": 2, "tensor": 2, "pipeline": 2}},
}


def interruptions(world: int) -> list[Fault]:
    """The first step, a step, the middle of an accumulation, epochs ending within and with a step, three in a row."""
    last = world - 1
    return [
        Fault(0, signal.SIGTERM, "data", step=1),
        Fault(last, signal.SIGUSR1, "gradient", step=7, micro_batch=2),
        Fault(0, signal.SIGINT, "update", step=8),
        Fault(last, signal.SIGTERM, "gradient", step=25),
        Fault(0, signal.SIGUSR1, "data", step=26),
        Fault(last, signal.SIGTERM, "update", step=27),
        Fault(0, signal.SIGTERM, "gradient", step=31),
    ]


def test_what_is_due_at_the_step_of_an_interruption_is_made_up_for_once(tmp_path: Path) -> None:
    settings = {"steps": 12, "checkpoint_every": 4, "validation_every": 4, "parallel": {"data": 2}}
    tokens = write_rows(tmp_path)
    whole, stopped = (ForkedRun(tmp_path / part, tokens, {}, settings) for part in ("whole", "stopped"))
    assert whole.start() == DONE, whole.events
    for fault, code in (
        (Fault(1, signal.SIGTERM, "gradient", step=4), INTERRUPTED),
        (Fault(0, signal.SIGKILL, "data", step=6), FAILED),  # after step 4 was made up for, before the next checkpoint
    ):
        assert stopped.start(Planned((fault,))) == code, stopped.events
    assert stopped.start() == DONE, stopped.events
    assert_same_course(stopped, whole)


def test_a_validation_is_interrupted_too_and_done_at_the_next_start(tmp_path: Path) -> None:
    settings = {"steps": 8, "checkpoint_every": 8, "validation_every": 4, "parallel": {"data": 2}}
    settings["micro_batch_size"] = 1  # several batches in a validation
    tokens = write_rows(tmp_path)
    whole, stopped = (ForkedRun(tmp_path / part, tokens, {}, settings) for part in ("whole", "stopped"))
    assert whole.start() == DONE, whole.events
    for step, said in ((4, "saved after step 4 of 8"), (8, "saved after step 8 of 8; the last validation is left")):
        for _ in range(2):  # while it is due for the first time, and while it is made up for
            fault = Fault(1, signal.SIGTERM, "validation", step=step + 1)
            assert stopped.start(Planned((fault,))) == INTERRUPTED, stopped.events
            assert said in stopped.messages("stop")[0]
        measured_at = [line["step"] for line in stopped.lines() if "validation_loss" in line]
        assert measured_at == ([] if step == 4 else [4])
    assert stopped.start() == DONE, stopped.events
    assert_same_course(stopped, whole)


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_interrupted_run_is_the_one_that_was_never_stopped(tmp_path: Path, name: str) -> None:
    tokens = write_rows(tmp_path)
    settings = {"steps": STEPS, "checkpoint_every": 12, "validation_every": 15, **LAYOUTS[name]}
    whole, stopped = (ForkedRun(tmp_path / part, tokens, {"dropout": 0.1}, settings) for part in ("whole", "stopped"))
    assert whole.start() == DONE, whole.events
    rows = whole.rows()
    assert list(rows) == list(range(1, STEPS + 1))
    in_order = [row for step in rows.values() for row in step]
    first, second = in_order[:ROWS], in_order[ROWS : 2 * ROWS]
    assert len(set(first)) == ROWS
    assert sorted(first) == sorted(second)
    assert first != second, "an epoch has an order of its own"

    before = 0
    layout = LAYOUTS[name]["parallel"]
    for fault in interruptions(layout["data"] * layout.get("tensor", 1) * layout.get("pipeline", 1)):
        code = stopped.start(Planned((fault,)))
        assert code == INTERRUPTED, stopped.events
        # What comes after a step's agreement is seen in the next one.
        seen = fault.step if fault.phase != "update" else (fault.step or 0) + 1
        assert [event["step"] for event in stopped.events if event["event"] == "stop"] == [seen]
        assert [event["step"] for event in stopped.events if event["event"] == "resume"] == ([before] if before else [])
        before = seen or 0
    assert stopped.start() == DONE, stopped.events
    assert f"resumed after step {before} of {STEPS}" in stopped.messages("resume")[0]
    assert_same_course(stopped, whole)
