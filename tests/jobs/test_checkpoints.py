"""`gptmill checkpoints`, `gptmill reshape`, `gptmill inspect checkpoint`: what a person sees, and the exit codes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from jobs.checkpoints import reshape_checkpoint, show_checkpoints
from jobs.inspect_checkpoint import inspect_checkpoint
from pipeline.errors import SettingError, UserError
from tests.jobs.test_cli import gptmill
from tests.trainer.checkpoint.synthetic import Cut, full_state, write_checkpoint
from trainer.checkpoint.directory import list_checkpoints

LAYOUT = {"parallel.data": 3, "parallel.tensor": 2, "parallel.pipeline": 1, "zero": 1, "precision": "fp32"}
RECIPE = {"settings.keep_last": 2, "settings.keep_every": 4}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.terminal.console.width", 150)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with four checkpoints, one of them permanent."""
    folder = tmp_path / "run" / "pretrain" / "checkpoints"
    for step in (4, 5, 6, 7):
        write_checkpoint(folder, step, Cut(2, 3), full_state(step), layout=LAYOUT, recipe=RECIPE, tokens=step * 10)
    return tmp_path / "run"


def steps_in(run: Path) -> list[int]:
    return [int(path.name[5:]) for path in list_checkpoints(run / "pretrain" / "checkpoints")]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 16
    path.write_bytes(bytes(content))


def test_a_run_is_listed_and_a_damaged_checkpoint_is_exit_code_1(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_checkpoints(str(run), verify=True, prune=False, keep=None) == 0
    lines = capsys.readouterr().err.splitlines()
    rows = [line for line in lines if "3 x 2 x 1, ZeRO 1" in line]
    assert [row.split()[0] for row in rows] == ["7", "6", "5", "4"]
    assert all(row.rstrip().endswith("whole") for row in rows)
    assert ["for ever" in row for row in rows] == [False, False, False, True]
    flip(next((run / "pretrain/checkpoints/step_00000005/state").iterdir()))
    assert show_checkpoints(str(run), verify=False, prune=False, keep=None) == 0
    assert show_checkpoints(str(run / "pretrain"), verify=True, prune=False, keep=None) == 1
    assert "step_00000005 is damaged: state/rank_0000" in capsys.readouterr().err


def test_pruning_leaves_the_last_and_the_permanent_ones(run: Path) -> None:
    assert show_checkpoints(str(run), verify=False, prune=True, keep=None) == 0
    assert steps_in(run) == [7, 6, 4]
    assert show_checkpoints(str(run), verify=False, prune=True, keep=1) == 0
    assert steps_in(run) == [7, 4]


def test_nothing_is_pruned_while_the_newest_is_damaged(run: Path) -> None:
    flip(run / "pretrain/checkpoints/step_00000007/index.json")
    with pytest.raises(UserError, match=r"step_00000007 is damaged \(index\.json .* nothing is pruned"):
        show_checkpoints(str(run), verify=False, prune=True, keep=1)
    assert steps_in(run) == [7, 6, 5, 4]


def test_a_reshaped_checkpoint_has_the_same_hashes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reshape_checkpoint(str(run), "tensor=1, pipeline=2", 1, None)
    written = run / "pretrain" / "checkpoints-data1-tensor1-pipeline2-zero1"
    assert [path.name for path in list_checkpoints(written)] == ["step_00000007"]
    capsys.readouterr()
    shown = []
    for place in (run, written):
        assert inspect_checkpoint(str(place), tensors=True) == 0
        said = capsys.readouterr()
        shown.append(said.out + said.err)
    states = [next(line for line in text.splitlines() if line.startswith("state hash")) for text in shown]
    assert states[0] == states[1]
    assert "1 x 1 x 2, ZeRO 1" in shown[1]
    expected = hashlib.sha256(full_state(7)["blocks.1.attention.output.weight", "exp_avg"].tobytes()).hexdigest()
    (row,) = [
        line for line in shown[0].splitlines() if line.split()[:2] == ["blocks.1.attention.output.weight", "exp_avg"]
    ]
    assert expected[:12] in row
    assert "16 x 16" in row


def test_a_damaged_checkpoint_is_not_inspected(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "pretrain/checkpoints/step_00000007/COMPLETE").unlink()
    assert inspect_checkpoint(str(run), tensors=False) == 1
    assert "is damaged: COMPLETE is missing" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["data", "data=0", "rows=2", "tensor=x"])
def test_a_layout_that_cannot_be_read_shows_the_form(run: Path, text: str) -> None:
    with pytest.raises(SettingError, match=r"write it as data=2,tensor=1,pipeline=2"):
        reshape_checkpoint(str(run), text, 1, None)


def test_places_without_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="has no checkpoints: give a run"):
        show_checkpoints(str(tmp_path), verify=False, prune=False, keep=None)
    with pytest.raises(SettingError, match="does not exist"):
        show_checkpoints(str(tmp_path / "nowhere"), verify=False, prune=False, keep=None)
    with pytest.raises(SettingError, match="give both"):
        show_checkpoints(str(tmp_path), verify=False, prune=False, keep=3)


def test_the_commands_are_wired(run: Path) -> None:
    code, output = gptmill(run, "checkpoints", ".", "--verify")
    assert code == 0
    assert output.count("whole") == 4
    code, output = gptmill(run, "reshape", ".", "--parallel", "data=2", "--output", "there")
    assert code == 0
    assert "tensors have the hashes they had" in output
    (run / "there/step_00000007/trainer.json").unlink()
    code, output = gptmill(run, "inspect", "checkpoint", "there")
    assert code == 1
    assert "trainer.json is missing" in output
