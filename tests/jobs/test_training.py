"""What a command makes of the way in which a training ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import training
from jobs.job import Job, open_job
from jobs.pretrain import pretraining_job
from jobs.recipe import load_recipe
from jobs.training import INTERRUPTED, train
from pipeline import storage
from pipeline.errors import Interrupted
from tests.faults.pretraining import write_run

Event = dict[str, Any]


def train_with(monkeypatch: pytest.MonkeyPatch, folder: Path, events: list[Event], code: int) -> tuple[Job, Event]:
    """A training that tells these events and ends with this code; the job and the manifest."""

    def start_training(_: Job, __: object, on_event: Callable[[Event], None]) -> int:
        for event in events:
            on_event(event)
        return code

    pretrain = write_run(folder)
    pretrain.mkdir()
    storage.write_json(str(pretrain / "manifest.json"), {"parameters": 1})
    monkeypatch.setattr(training, "start_training", start_training)
    loaded = load_recipe(str(folder / "recipe.yaml"), [f"run={folder}/run"])
    with open_job(loaded) as job:
        return job, train(job, pretraining_job(job.recipe, job.run, job.launching))


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([], "stopped before its first step: the same command starts it"),
        (["stopping", "stop"], "stopped and saved: the same command continues"),
        (["stopping", "stopped_at_once"], "without saving: the same command continues from the last checkpoint"),
    ],
)
def test_what_is_said_of_an_interruption_is_what_was_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kinds: list[str], said: str
) -> None:
    with pytest.raises(Interrupted, match=said):
        train_with(monkeypatch, tmp_path, [{"event": kind, "message": kind} for kind in kinds], INTERRUPTED)


def test_a_stop_asked_for_in_the_last_step_keeps_the_next_part_of_the_recipe_from_being_begun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job, manifest = train_with(monkeypatch, tmp_path, [{"event": "stopping", "message": "SIGTERM: ..."}], 0)
    assert manifest == {"parameters": 1}
    assert job.stop.pending


def test_a_training_that_nobody_stopped_stops_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job, _ = train_with(monkeypatch, tmp_path, [], 0)
    assert not job.stop.pending


def test_why_a_run_failed_is_shown_before_it_is_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [{"event": "error", "message": "the loss is nan"}, {"event": "restart", "message": "restart 1 of 3"}]
    train_with(monkeypatch, tmp_path, events, 0)
    shown = capsys.readouterr()
    said = shown.out + shown.err
    assert 0 <= said.find("the loss is nan") < said.find("restart 1 of 3")
