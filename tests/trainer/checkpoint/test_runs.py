"""Whole runs on checkpoints: another layout, another machine, and a checkpoint that is not of this run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import storage
from pipeline.errors import UserError
from tests.trainer.checkpoint.alone import Alone
from tests.trainer.test_resume import Run, interrupt
from trainer.checkpoint.copies import list_copies
from trainer.checkpoint.directory import list_checkpoints
from trainer.checkpoint.load import load_checkpoint
from trainer.checkpoint.seal import COMPLETE, STATE, damage, write_seal
from trainer.identity import open_inputs
from trainer.job import TrainingJob
from trainer.parallel.layout import Layout

STEPS = 40


class Steady(Run):
    """Without dropout, which draws other numbers in another layout."""

    def job(self, **settings: Any) -> TrainingJob:
        job = super().job(steps=STEPS, **settings)
        assert job.model is not None
        return job.model_copy(update={"model": job.model.model_copy(update={"dropout": 0.0})})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Steady(tmp_path_factory.mktemp("uninterrupted"))
    assert run.start() == 0, run.events
    return run


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A run on two processes that was stopped after some steps, and where its checkpoints were copied to."""
    folder = tmp_path_factory.mktemp("interrupted")
    run = Steady(folder)
    assert run.start(at_step=3, then=interrupt, checkpoint_copy=str(folder / "copies")) == 75, run.events
    return folder / "copies", run


def losses(run: Run) -> dict[int, float]:
    lines = [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def test_on_another_machine_in_another_layout_the_course_is_the_same(
    uninterrupted: Run, interrupted: tuple[Path, Run], tmp_path: Path
) -> None:
    copies, before = interrupted
    (newest, *_) = copied = list_copies(str(copies))
    assert copied == [path.name for path in list_checkpoints(before.directory / "checkpoints")]
    shutil.copytree(before.directory.parent, tmp_path / "run")
    run = Steady(tmp_path / "run")
    shutil.rmtree(run.directory / "checkpoints")
    other: dict[str, Any] = {"parallel": {"data": 1}, "zero": 0, "asynchronous_checkpoints": False}
    assert run.start(checkpoint_copy=str(copies), **other) == 0, run.events
    (warning,) = run.messages("warning")
    assert warning.endswith(f"was empty: fetched {newest} from {copies}")
    told = " ".join(run.messages("changed"))
    assert "another layout, read as it is: parallel.data was 2, is 1; zero was 1, is 0" in told
    assert told.count("parallel.data was") == told.count("zero was") == 1, "the same is not said twice"
    expected = losses(uninterrupted)
    assert losses(run).keys() == expected.keys()
    for step, loss in losses(run).items():
        assert loss == pytest.approx(expected[step], abs=1e-5), step


def changed(state: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {**state, **values}


STRANGERS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "other data": (lambda state: changed(state, next_batch="0" * 64), "the data of step {step} is not what it was"),
    "other samples": (lambda state: changed(state, samples=1), "has seen 1 samples, step {step} of this run follows"),
    "another format": (lambda state: changed(state, format_version=1), "has format 1, this version of gptmill reads 2"),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_whole_checkpoint_that_is_not_of_this_run_is_refused(
    interrupted: tuple[Path, Run], tmp_path: Path, kind: str
) -> None:
    _, run = interrupted
    shutil.copytree(run.directory / "checkpoints", tmp_path / "checkpoints")
    change, message = STRANGERS[kind]
    newest = list_checkpoints(tmp_path / "checkpoints")[0]
    state = change(storage.read_json(str(newest / STATE)))
    storage.write_json(str(newest / STATE), state)
    files = storage.read_json(str(newest / COMPLETE))["files"]
    files[STATE] = {"size": (newest / STATE).stat().st_size, "sha256": storage.sha256_of(str(newest / STATE))}
    write_seal(newest, state["step"], files)
    assert damage(newest) is None
    with pytest.raises(UserError, match=message.format(step=state["step"])):
        load(run, tmp_path / "checkpoints")


def load(run: Run, checkpoints: Path) -> None:
    """As far as the engine, which takes up what fits only."""
    inputs = open_inputs(run.job())
    order, layout = inputs.order(), Layout(2, 1, 1, 1, 8, 3)
    engine: Any = SimpleNamespace(shape=inputs.shape, layout=layout, precision="fp32", state_pieces=_reached)

    def digest(step: int, _: dict[str, Any]) -> str:
        return inputs.data.train.batch(order.sample_ids(step, 0)).digest()

    load_checkpoint(checkpoints, engine, Alone(), inputs, digest, lambda *_: None)


class Reached(Exception):
    """The state was about to be taken up."""


def _reached(**_: bool) -> None:
    raise Reached


def test_one_that_is_of_this_run_is_taken_up(interrupted: tuple[Path, Run]) -> None:
    _, run = interrupted
    with pytest.raises(Reached):
        load(run, run.directory / "checkpoints")
