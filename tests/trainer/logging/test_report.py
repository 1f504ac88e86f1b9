"""A training run can be read back at any moment, finished or not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from trainer.logging.report import CURVE_POINTS, SAMPLES, summarise_training


def write_metrics(directory: Path, lines: list[dict[str, Any]], ending: str = "") -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines) + ending
    (directory / "metrics.jsonl").write_text(text)


def test_a_run_that_has_not_started_has_no_summary(tmp_path: Path) -> None:
    assert summarise_training(tmp_path / "nowhere") is None


def test_training_and_validation_lines_become_curves(tmp_path: Path) -> None:
    write_metrics(
        tmp_path,
        [
            {"step": 10, "loss": 5.0, "learning_rate": 1e-3},
            {"step": 20, "loss": 4.0, "learning_rate": 5e-4},
            {"step": 20, "validation_loss": 4.5, "bits_per_byte": 1.5},
        ],
    )
    summary = summarise_training(tmp_path)
    assert summary is not None
    assert (summary.steps, summary.finished) == (20, False)
    assert (summary.loss.steps, summary.loss.values) == ([10, 20], [5.0, 4.0])
    assert (summary.bits_per_byte.steps, summary.bits_per_byte.values) == ([20], [1.5])
    assert summary.gradient_norm.values == []


def test_skipped_steps_are_told_apart_and_sources_have_curves_of_their_own(tmp_path: Path) -> None:
    write_metrics(
        tmp_path,
        [
            {"step": 10, "loss": 5.0, "gradient_norm": 1.0, "mfu": 0.4},
            {"step": 11, "skipped": True, "loss": 50.0, "gradient_norm": 9.0},
            {"step": 12, "skipped": True},
            {"step": 20, "validation_loss": 4.0, "by_source": {"b": {"loss": 4.5}, "a": {"loss": 3.5}}},
            {"step": 30, "validation_loss": 3.0, "by_source": {"a": {"loss": 2.5}}},
        ],
    )
    summary = summarise_training(tmp_path)
    assert summary is not None
    assert (summary.loss.values, summary.gradient_norm.values, summary.mfu.values) == ([5.0], [1.0], [0.4])
    assert (summary.skipped.steps, summary.skipped.values) == ([11], [50.0])
    assert [(name, curve.steps) for name, curve in summary.loss_by_source.items()] == [("a", [20, 30]), ("b", [20])]


def test_steps_repeated_after_a_resume_count_once_as_measured_last(tmp_path: Path) -> None:
    write_metrics(tmp_path, [{"step": step, "loss": float(step)} for step in (1, 2, 3)] + [{"step": 2, "loss": 9.0}])
    summary = summarise_training(tmp_path)
    assert summary is not None
    assert summary.loss.values == [1.0, 9.0, 3.0]


def test_a_last_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    write_metrics(tmp_path, [{"step": 1, "loss": 1.0}], ending='{"step": 2, "lo')
    summary = summarise_training(tmp_path)
    assert summary is not None
    assert summary.steps == 1


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    write_metrics(tmp_path, [{"step": 1, "loss": 1.0}], ending='{"step"\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2"):
        summarise_training(tmp_path)


def test_long_curves_are_thinned_and_keep_both_ends(tmp_path: Path) -> None:
    write_metrics(tmp_path, [{"step": step, "loss": 1.0} for step in range(1, 10_001)])
    summary = summarise_training(tmp_path)
    assert summary is not None
    assert len(summary.loss.steps) == CURVE_POINTS
    assert (summary.loss.steps[0], summary.loss.steps[-1]) == (1, 10_000)


def test_the_latest_samples_are_kept(tmp_path: Path) -> None:
    write_metrics(tmp_path, [{"step": 1, "loss": 1.0}])
    samples = [{"step": step, "prompt": "a", "text": str(step)} for step in range(50)]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    summary = summarise_training(tmp_path)
    assert summary is not None
    assert [sample.step for sample in summary.samples] == list(range(50 - SAMPLES, 50))


def test_figures_are_the_numbers_and_words_of_the_manifest(tmp_path: Path) -> None:
    write_metrics(tmp_path, [{"step": 1, "loss": 1.0}])
    (tmp_path / "manifest.json").write_text('{"parameters": 10, "model": {"layers": 2}, "note": "x"}')
    summary = summarise_training(tmp_path)
    assert summary is not None
    assert summary.finished
    assert summary.figures == {"parameters": 10, "note": "x"}


def test_torch_is_not_loaded() -> None:
    code = "import sys, trainer.logging.report; print('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "False"
