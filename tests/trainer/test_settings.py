"""What the trainer can be told, and what it refuses."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from trainer.finetune.settings import FinetuneSettings
from trainer.job import TrainingJob
from trainer.settings import AdamWSettings, ModelSettings, PretrainSettings


def test_a_preset_gives_the_shape_and_explicit_fields_override_it() -> None:
    model = ModelSettings.model_validate({"preset": "gpt2-124m", "layers": 3})
    assert (model.layers, model.width, model.positions, model.bias) == (3, 768, "learned", True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"preset": "gpt9"}, "gpt9.*known: gpt1, gpt2-124m"),
        ({"layers": 2, "width": 30, "heads": 4}, "width 30 is not divisible by heads 4"),
        ({"layers": 2, "width": 32, "heads": 4, "kv_heads": 3}, "not divisible by kv_heads 3"),
        ({"layers": 2, "width": 20, "heads": 4}, "even head width"),
        ({"width": 20, "heads": 4}, "layers"),
        ({"preset": "gpt2-124m", "depth": 3}, "depth"),
    ],
)
def test_an_impossible_model_is_refused_with_the_reason(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSettings.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 3, "tokens": 9}, "only one of steps, epochs and tokens"),
        ({"deepspeed_extra": {"fp16": {}}}, "may not set fp16"),
        ({"optimizer": {"lr": 0.0}}, "greater than 0"),
        ({"optimizer": {"lr": float("nan")}}, "lr"),
        ({"zero": 4}, "zero"),
        ({"stability": {"rollback_after": 2}}, "rollback_after has no meaning where nothing is skipped"),
        (
            {"stability": {"rollback_after": 2, "skip_sigma": 6.0}, "checkpoint_every": 0},
            "set checkpoint_every above 0",
        ),
    ],
)
def test_impossible_training_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PretrainSettings.model_validate(fields)


def test_the_length_of_a_run_follows_from_steps_epochs_or_tokens() -> None:
    def steps(**fields: Any) -> int:
        return PretrainSettings(global_batch_tokens=64, **fields).total_steps(rows=100, context_length=16)

    assert (steps(steps=7), steps(tokens=1000), steps(epochs=2.0), steps()) == (7, 15, 50, 25)


def test_a_global_batch_that_is_no_whole_number_of_rows_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match="100 is no multiple of the context length 64; the nearest is 128"):
        PretrainSettings(global_batch_tokens=100).rows_per_step(context_length=64)


def test_a_job_survives_its_file() -> None:
    job = TrainingJob(
        kind="pretrain",
        directory="run/pretrain",
        tokens="run/tokens",
        tokenizer="run/tokenizer/tokenizer.json",
        model=ModelSettings.model_validate({"preset": "modern-3m"}),
        settings=PretrainSettings(steps=3),
    )
    assert TrainingJob.model_validate_json(job.model_dump_json()) == job


def test_settings_load_neither_torch_nor_deepspeed() -> None:
    check = "import sys, trainer.settings; sys.exit(bool({'torch', 'deepspeed', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize("kind", ["adamw", "adafactor", "muon"])
def test_an_optimizer_is_chosen_by_its_kind_and_reads_back_from_a_job(kind: str) -> None:
    settings = PretrainSettings.model_validate({"optimizer": {"kind": kind, "lr": 0.5}})
    assert (settings.optimizer.kind, settings.optimizer.lr) == (kind, 0.5)
    assert PretrainSettings.model_validate_json(settings.model_dump_json()) == settings


def test_without_a_kind_it_is_adamw_and_finetuning_has_a_lower_rate_without_decay() -> None:
    assert PretrainSettings.model_validate({"optimizer": {"lr": 0.5}}).optimizer == AdamWSettings(lr=0.5)
    assert FinetuneSettings().optimizer == AdamWSettings(lr=3e-4, weight_decay=0.0)
    one_key = FinetuneSettings.model_validate({"optimizer": {"betas": [0.9, 0.99]}}).optimizer
    assert one_key == AdamWSettings(lr=3e-4, weight_decay=0.0, betas=(0.9, 0.99)), "it changes nothing else"
    given = FinetuneSettings.model_validate({"optimizer": {"kind": "muon", "weight_decay": 0.2}}).optimizer
    assert (given.kind, given.lr, given.weight_decay) == ("muon", 3e-4, 0.2)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"kind": "muon", "betas": [0.9, 0.95]}, ("optimizer", "muon", "betas")),
        ({"kind": "adafactor", "momentum": 0.9}, ("optimizer", "adafactor", "momentum")),
        ({"nesterov": True}, ("optimizer", "adamw", "nesterov")),
        ({"kind": "sgd"}, ("optimizer",)),
        ({"kind": "muon", "adamw": {"betas": [0.9, 1.0]}}, ("optimizer", "muon", "adamw", "betas")),
    ],
)
def test_a_key_that_an_optimizer_does_not_read_is_refused(given: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as fault:
        PretrainSettings.model_validate({"optimizer": given})
    assert [error["loc"] for error in fault.value.errors()] == [place]
