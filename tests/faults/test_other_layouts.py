"""From 8 processes in three dimensions to any other layout and back: the same state, rows and course."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.forked_run import ForkedRun
from bench.planned_faults import Planned
from tests.faults.forked import write_rows
from trainer.checkpoint.directory import list_checkpoints
from trainer.checkpoint.reading import StateReader
from trainer.checkpoint.reshape import hashes_of, state_sha256
from trainer.checkpoint.seal import damage
from trainer.exit_codes import DONE

STEPS, CHANGED_AT = 40, 20
FIRST = {"data": 2, "tensor": 2, "pipeline": 2}
CHAIN: dict[str, dict[str, int]] = {
    "data 8": {"data": 8},
    "tensor 4, data 2": {"data": 2, "tensor": 4},
    "pipeline 4, data 2": {"data": 2, "pipeline": 4},
    "one process": {"data": 1},
    "and back": FIRST,
}
"""Each goes on from what the one before it has taken up and saved again."""
SETTINGS: dict[str, Any] = {
    "steps": STEPS,
    "checkpoint_every": CHANGED_AT,
    "keep_every": CHANGED_AT,
    "optimizer": {"lr": 0.002},
}


def state_of(folder: Path) -> str:
    (path,) = list_checkpoints(folder)
    assert damage(path) is None
    with StateReader(path) as reader:
        return state_sha256(hashes_of(reader))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> ForkedRun:
    folder = tmp_path_factory.mktemp("layouts")
    run = ForkedRun(folder / "first", write_rows(folder), {}, {**SETTINGS, "parallel": FIRST})
    assert run.start() == DONE, run.events
    at = folder / "first, saved"
    shutil.copytree(run.directory / "checkpoints" / f"step_{CHANGED_AT:08d}", at / f"step_{CHANGED_AT:08d}")
    return run


@pytest.mark.parametrize("number", range(len(CHAIN)), ids=list(CHAIN))
def test_another_layout_takes_up_the_same_state_and_goes_the_same_way(first: ForkedRun, number: int) -> None:
    folder = first.directory.parent
    names = ["first", *CHAIN]
    name, before = names[number + 1], folder / f"{names[number]}, saved"
    again = folder / f"{name}, saved"
    run = ForkedRun(folder / name, first.tokens, {}, {**SETTINGS, "parallel": CHAIN[name]})
    shutil.copytree(before, run.directory / "checkpoints")
    assert run.start(Planned(written_again=again)) == DONE, run.events
    assert f"resumed after step {CHANGED_AT} of {STEPS}" in run.messages("resume")[0]
    assert "another layout, read as it is: " in " ".join(run.messages("changed"))

    assert state_of(again) == state_of(folder / "first, saved")
    steps = range(CHANGED_AT + 1, STEPS + 1)
    assert run.rows() == {step: first.rows()[step] for step in steps}
    expected = {step: first.losses()[step] for step in steps}
    assert list(run.losses()) == list(steps)
    for step, loss in run.losses().items():
        assert loss == pytest.approx(expected[step], abs=1e-5), step
    if CHAIN[name] == FIRST:
        assert run.losses() == expected, "in the same layout bit for bit"
        assert run.weights() == first.weights()
