"""All that a training process must know: what `job.json` holds and every rank reads."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializeAsAny, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo, ValidatorFunctionWrapHandler

from trainer.finetune.settings import FinetuneSettings
from trainer.settings import ModelSettings, PretrainSettings, Settings, TrainingSettings


class TrainingJob(Settings):
    """All that a training process must know; written as `job.json` and read by every rank."""

    kind: Literal["pretrain", "finetune"]
    """Which class `settings` is of, and which data is read."""
    directory: Path
    """Where the run lives: job.json, metrics.jsonl, checkpoints/, model/, manifest.json."""
    tokens: Path
    """Directory of the training data: the token dataset, or the finetuning conversations."""
    tokenizer: Path
    """The tokenizer.json that made the tokens."""
    context_length: int | None = None
    """Tokens of a row as the recipe says; the data must have as many. None: whatever the data has."""
    model: ModelSettings | None = None
    """The model to build. None: that of `initial_weights`."""
    settings: SerializeAsAny[TrainingSettings]
    """`PretrainSettings`, or `FinetuneSettings` of trainer.finetune."""
    initial_weights: Path | None = None
    """A finished `model/` directory to start from. None: random weights."""
    seed: int = Field(default=0, ge=0)
    """Drives initial weights, data order and dropout."""
    started: float | None = None
    """When the run was started, in seconds since 1970; restarts do not count. None: when its processes were."""
    allow: tuple[str, ...] = ()
    """Settings that may differ from those the run's last checkpoint was made with, though they change what is learned:
    parts of names such as `lr` or `schedule`, or `all`."""

    @field_validator("settings", mode="wrap")
    @classmethod
    def _choose_settings(cls, given: Any, _: ValidatorFunctionWrapHandler, info: ValidationInfo) -> TrainingSettings:
        if info.data.get("kind") == "finetune":
            finetune: TrainingSettings = FinetuneSettings.model_validate(given)
            return finetune
        return PretrainSettings.model_validate(given)

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if self.model is None and self.initial_weights is None:
            raise ValueError("a training job needs a model or initial_weights")
        return self
