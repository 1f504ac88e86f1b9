"""Traces hold the chosen steps and nothing else."""

import gzip
import json
from pathlib import Path

import torch

from trainer.logging.profile import StepProfiler
from trainer.settings.logging import ProfileSettings


def trace_of(directory: Path, settings: ProfileSettings | None, steps: range) -> list[int]:
    """Steps after which a trace was written."""
    profiler, written = StepProfiler(settings, directory, rank=3), []
    for step in steps:
        profiler.before(step)
        torch.ones(step, 5) @ torch.ones(5, 7)  # the shape tells which step it was
        if profiler.after(step) is not None:
            written.append(step)
    return written


def rows_multiplied(path: Path) -> set[int]:
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return {event["args"]["Input Dims"][0][0] for event in events if event.get("name") == "aten::mm"}


def test_the_chosen_steps_are_traced_into_a_file_of_each_process(tmp_path: Path) -> None:
    settings = ProfileSettings(start=3, steps=2, memory=True)
    assert trace_of(tmp_path, settings, range(1, 8)) == [4]
    assert rows_multiplied(tmp_path / "profile" / "rank_00003.json.gz") == {3, 4}


def test_a_run_resumed_among_them_traces_the_rest_and_one_behind_them_nothing(tmp_path: Path) -> None:
    settings = ProfileSettings(start=3, steps=3, memory=True)
    assert trace_of(tmp_path, settings, range(4, 9)) == [5]
    assert rows_multiplied(tmp_path / "profile" / "rank_00003.json.gz") == {4, 5}
    assert trace_of(tmp_path / "behind", settings, range(6, 9)) == []
    assert not (tmp_path / "behind").exists()


def test_without_settings_nothing_is_traced(tmp_path: Path) -> None:
    assert trace_of(tmp_path, None, range(1, 4)) == []
    assert list(tmp_path.iterdir()) == []
