"""What a run's result depends on, and a finished run whose inputs changed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from tests.trainer.datasets import write_token_dataset
from trainer.identity import Inputs, differences, open_inputs
from trainer.job import TrainingJob
from trainer.manifest import finished_manifest, put_aside_superseded
from trainer.settings import ModelSettings, ModelShape, PretrainSettings


def inputs(directory: Path, seed: int = 0, layers: int = 2, **settings: Any) -> Inputs:
    tokens, tokenizer = write_token_dataset(directory)
    (directory / "pretrain").mkdir(exist_ok=True)
    return open_inputs(
        TrainingJob(
            kind="pretrain",
            directory=directory / "pretrain",
            tokens=tokens,
            tokenizer=tokenizer,
            model=ModelSettings(layers=layers, width=16, heads=2),
            settings=PretrainSettings.model_validate({"global_batch_tokens": 128, "steps": 3, **settings}),
            seed=seed,
        )
    )


def test_what_changes_the_maths_changes_the_fingerprint_and_what_does_not_does_not(tmp_path: Path) -> None:
    first = inputs(tmp_path)
    same = inputs(tmp_path, log_every=1, micro_batch_size=1, keep_last=9, parallel={"data": 1}, epochs=None)
    assert same.fingerprint == first.fingerprint
    changed = [
        inputs(tmp_path, seed=1),
        inputs(tmp_path, layers=3),
        inputs(tmp_path, steps=4),
        inputs(tmp_path, global_batch_tokens=256),
        inputs(tmp_path, optimizer={"betas": [0.9, 0.99]}),
        inputs(tmp_path, gradient_clipping=0.5),
    ]
    assert len({item.fingerprint for item in [first, *changed]}) == 7


def test_the_same_length_said_in_another_way_is_the_same_run(tmp_path: Path) -> None:
    assert inputs(tmp_path, steps=None, tokens=400).fingerprint == inputs(tmp_path, steps=3).fingerprint


def test_differences_name_the_setting_with_both_values(tmp_path: Path) -> None:
    before, now = inputs(tmp_path), inputs(tmp_path, optimizer={"lr": 0.5})
    assert differences(before.identity, now.identity) == ["settings.optimizer.lr was 0.0006, is 0.5"]


def _finish(run: Inputs) -> None:
    directory = run.job.directory
    (directory / "model").mkdir()
    (directory / "model" / "weights.safetensors").write_bytes(b"w")
    for step in (2, 3):
        (directory / "checkpoints" / f"step_{step:08}").mkdir(parents=True)
    (directory / "manifest.json").write_text(json.dumps({"fingerprint": run.fingerprint}))


def test_a_finished_run_of_other_settings_is_put_aside_and_its_own_is_left_alone(tmp_path: Path) -> None:
    run, changed = inputs(tmp_path), inputs(tmp_path, steps=9)
    _finish(run)
    assert put_aside_superseded(run) is None
    assert finished_manifest(run) is not None
    aside = put_aside_superseded(changed)
    assert aside is not None
    assert (aside / "model" / "weights.safetensors").exists()
    assert finished_manifest(run) is None
    assert not (tmp_path / "pretrain" / "checkpoints").exists()
    assert [path.name for path in (aside / "checkpoints").iterdir()] == ["step_00000003"], "what took longest to make"


def test_weights_of_another_model_are_refused_naming_what_differs(tmp_path: Path) -> None:
    run = inputs(tmp_path)
    start = tmp_path / "start"
    start.mkdir()
    (start / "model.json").write_text(run.shape.model_dump_json())
    (start / "weights.safetensors").write_bytes(b"w")
    shutil.copy(run.job.tokenizer, start)
    job = run.job.model_copy(update={"initial_weights": start, "model": ModelSettings(layers=3, width=16, heads=2)})
    with pytest.raises(UserError, match=r"another model than the recipe's \(layers was 2, is 3\)"):
        open_inputs(job)
    assert open_inputs(job.model_copy(update={"model": None})).shape == run.shape


def start_from(run: Inputs, model: dict[str, Any], **start: Any) -> Inputs:
    """The run with this model, from weights of the run's shape with these changes."""
    directory = run.job.directory.parent / "start"
    directory.mkdir(exist_ok=True)
    shape = ModelShape.model_validate({**run.shape.model_dump(), **start})
    (directory / "model.json").write_text(shape.model_dump_json())
    (directory / "weights.safetensors").write_bytes(b"w")
    shutil.copy(run.job.tokenizer, directory)
    chosen = ModelSettings.model_validate({"layers": 2, "width": 16, "heads": 2, **model})
    return open_inputs(run.job.model_copy(update={"initial_weights": directory, "model": chosen}))


def test_a_width_that_follows_and_the_same_one_given_are_one_model(tmp_path: Path) -> None:
    run = inputs(tmp_path)
    start_from(run, {}, kv_heads=2, feed_forward_width=run.shape.inner_width)
    with pytest.raises(UserError, match=r"\(feed_forward_width was 32, is 64\)"):
        start_from(run, {}, feed_forward_width=32)


def test_a_context_is_stretched_with_other_angles_but_never_a_table_of_positions(tmp_path: Path) -> None:
    run, scaling = inputs(tmp_path), {"rope_scaling": {"kind": "linear", "factor": 2.0}}
    half = run.shape.context_length // 2
    assert start_from(run, scaling, context_length=half).shape.context_length == 2 * half
    assert start_from(run, {}, context_length=4 * half).shape.context_length == 2 * half
    with pytest.raises(UserError, match="rope_scaling was None, is"):
        start_from(run, scaling)
    learned = {"positions": "learned"}
    with pytest.raises(UserError, match=f"contexts of {half}, .* needs .*{2 * half}"):
        start_from(run, learned, context_length=half, **learned)
    with pytest.raises(UserError, match=f"context_length was {4 * half}, is {2 * half}"):
        start_from(run, learned, context_length=4 * half, **learned)
