"""When the manifest of a step says that there is nothing to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.errors import StorageError
from pipeline.shard import finished_manifest

FINISHED = {"format_version": 2, "fingerprint": "wanted", "files": ["a"]}


def test_a_step_that_was_finished_as_wanted_gives_its_manifest(tmp_path: Path) -> None:
    path = str(tmp_path / "step.json")
    storage.write_json(path, FINISHED)
    assert finished_manifest(path, 2, "wanted") == FINISHED


@pytest.mark.parametrize("change", [{"fingerprint": "other"}, {"format_version": 1}, {"fingerprint": None}], ids=str)
def test_a_step_of_other_input_or_of_another_format_must_run(tmp_path: Path, change: dict[str, Any]) -> None:
    path = str(tmp_path / "step.json")
    storage.write_json(path, {**FINISHED, **change})
    assert finished_manifest(path, 2, "wanted") is None


def test_a_step_without_manifest_must_run(tmp_path: Path) -> None:
    assert finished_manifest(str(tmp_path / "step.json"), 2, "wanted") is None


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "step.json").write_text("{")
    with pytest.raises(StorageError, match=r"step\.json is not valid JSON .*: remove it and run the same command"):
        finished_manifest(str(tmp_path / "step.json"), 2, "wanted")
