"""What a run says of itself."""

import io
import json
import math
from pathlib import Path

from trainer.logging.journal import Journal


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_steps_go_to_metrics_and_to_the_starter_and_everything_else_to_events(tmp_path: Path) -> None:
    stream = io.StringIO()
    journal = Journal(tmp_path, stream, active=True)
    journal.event("start", steps=2, kind="pretrain")
    journal.step(step=1, loss=2.5)
    journal.sample(step=1, prompt="a", text=" b\u2028c")
    assert lines(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 2.5}]
    assert lines(tmp_path / "events.jsonl")[0].items() >= {"event": "start", "kind": "pretrain"}.items()
    assert [json.loads(line)["event"] for line in stream.getvalue().split("\n")[:-1]] == ["start", "step", "sample"]


def test_a_resume_forgets_the_steps_that_are_done_again_and_a_cut_off_last_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, None, active=True)
    for step in (1, 2, 3):
        journal.step(step=step, loss=1.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "lo')
    journal.rewind(2)
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [1, 2]


def test_what_was_measured_at_a_step_is_known_to_the_next_start(tmp_path: Path) -> None:
    journal = Journal(tmp_path, None, active=True)
    assert journal.measured(0) == []
    journal.step(step=5, loss=1.0)
    assert journal.measured(5) == [], "a step's own line is no validation"
    journal.validation(step=5, validation_loss=1.0)
    journal.sample(step=5, prompt="a", text=" b\u2028c")
    journal.validation(step=10, validation_loss=1.0)
    later = Journal(tmp_path, None, active=True)
    assert (later.measured(5), later.measured(10)) == (["validation", "samples"], ["validation"])


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, io.StringIO(), active=False)
    journal.step(step=1, loss=2.5)
    journal.event("start")
    journal.rewind(0)
    assert list(tmp_path.iterdir()) == []


def test_a_skipped_step_is_a_line_of_metrics_and_an_event_and_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    stream = io.StringIO()
    journal = Journal(tmp_path, stream, active=True)
    journal.skip(step=4, message="step 4: the loss is nan", loss=math.nan, gradient_norm=2.5)
    assert lines(tmp_path / "metrics.jsonl") == [{"step": 4, "skipped": True, "gradient_norm": 2.5}]
    (event,) = lines(tmp_path / "events.jsonl")
    assert event.items() >= {"event": "skip", "message": "step 4: the loss is nan", "gradient_norm": 2.5}.items()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["skip"]


def test_figures_without_a_value_are_left_out_of_a_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, None, active=True)
    journal.step(step=1, loss=2.5, mfu=None)
    journal.norms(step=1, norms={"blocks.0": {"weight": 3.0}})
    assert lines(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": 2.5},
        {"step": 1, "norms": {"blocks.0": {"weight": 3.0}}},
    ]
