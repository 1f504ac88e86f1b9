"""bench.train: its sides do the same work, and what it cannot measure it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench import train
from bench.peers.plain_pytorch import GPT2
from bench.train_device import CASES, Case, device_job
from bench.train_task import CONTEXT, ROWS, SHAPE, STYLES, job_of, write_task
from trainer.identity import open_inputs
from trainer.model.gpt import GPT
from trainer.model.init import build_model
from trainer.settings import ModelSettings, PretrainSettings


def test_the_model_by_hand_is_the_gpt2_of_gptmill() -> None:
    shape = ModelSettings.model_validate({**STYLES["gpt2"], **SHAPE, "layers": 2}).shaped(96, 32)
    ours: GPT = build_model(shape, seed=1)
    theirs = GPT2(2, SHAPE["width"], SHAPE["heads"], 96, 32)
    short = {name.replace(".attention.", ".").replace(".feed_forward.", "."): name for name in ours.state_dict()}
    theirs.load_state_dict({name: ours.state_dict()[given] for name, given in short.items()}, strict=True)
    tokens = torch.randint(96, (2, 32), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(ours(tokens), theirs(tokens), atol=1e-5)


def test_all_sides_are_given_the_rows_that_gptmill_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.train_task.STEPS", 2)
    monkeypatch.setattr("bench.train_task.SHAPE", {**SHAPE, "layers": 1})
    write_task(tmp_path, "gpt2")
    task = json.loads((tmp_path / "task.json").read_text())
    weights = load_file(tmp_path / "weights.safetensors")
    assert {name for group in task["groups"] for name in group["names"]} == set(weights)
    rows = np.load(tmp_path / "rows.npy")
    assert rows.shape == (2, ROWS, CONTEXT + 1)
    inputs = open_inputs(job_of(tmp_path, "gpt2", "fp32", tmp_path, steps=2))
    batch = inputs.data.train.batch(inputs.order().sample_ids(1))
    assert np.array_equal(rows[1, :, :-1], batch.inputs)
    assert np.array_equal(rows[1, :, 1:], batch.targets)
    assert weights["token_embedding.weight"].shape == (task["vocab_size"], task["width"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_batch_of_a_run_on_a_gpu_is_made_of_whole_micro_batches(case: Case, tmp_path: Path) -> None:
    job = device_job(case, True, tmp_path, tmp_path / "tokenizer.json", tmp_path)
    assert isinstance(job.settings, PretrainSettings)
    assert job.settings.compile
    assert job.settings.rows_per_step(case.context) % case.rows == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_figures_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train.main(["--device", "cuda"])
    assert ended.value.code == 2
    assert "torch sees none here" in capsys.readouterr().err


def test_a_job_of_the_task_has_one_copy_and_one_thread(tmp_path: Path) -> None:
    settings = job_of(tmp_path, "modern", "bf16", tmp_path).settings
    assert (settings.parallel.data, settings.threads_per_process, settings.precision) == (1, 1, "bf16")
