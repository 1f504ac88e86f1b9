"""Training from random (or given) weights on token datasets."""

from typing import Self

from pydantic import Field, model_validator

from trainer.batch_ramp import BatchRamp
from trainer.settings.base import Settings
from trainer.settings.optimizer import BatchRampSettings
from trainer.settings.training import TrainingSettings


class MixtureDataset(Settings):
    """One token dataset of a mixture, and how much of it a run takes."""

    name: str = Field(min_length=1)
    """What the plan calls it; also chooses its order of rows, so that no two datasets share one."""
    data: str = "own"
    """Folder or fsspec URL of a token dataset, or of a run that has one; `own`: the dataset of this run. All datasets
    of a mixture must have one tokenizer and one context length."""
    weight: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Part of the run's tokens in proportion to the other weights, after budgets were taken off."""
    tokens: int | None = Field(default=None, gt=0)
    """Budget: so many tokens of the run. Give this or `weight`."""
    max_epochs: float = Field(default=4.0, gt=0.0)
    """A run that would go through the dataset more often is refused. Up to four times repeated text teaches nearly as
    much as new text (Muennighoff et al. 2023)."""

    @model_validator(mode="after")
    def _check_amount(self) -> Self:
        if (self.weight is None) == (self.tokens is None):
            raise ValueError(f"give {self.name} a weight or a budget of tokens, not both or none")
        return self


class PretrainSettings(TrainingSettings):
    """Training from random (or given) weights on token datasets."""

    global_batch_tokens: int = Field(default=524_288, gt=0)
    """Tokens in one optimizer step over all processes: a multiple of context length x data-parallel copies.
    About half a million for 100 M parameters (GPT-3, table 2.1); small models take far fewer."""
    tokens: int | None = Field(default=None, gt=0)
    """Length of the run in training tokens, rounded down to whole steps."""
    batch_ramp: BatchRampSettings | None = None
    """Begin with smaller batches. None: all steps have `global_batch_tokens`."""
    init_from: str | None = None
    """A finished run, its `pretrain` or `model` directory, or a checkpoint (`.../checkpoints/step_00001000`), whose
    weights this one starts from; nothing else of it is taken. None: random weights."""
    mixture: tuple[MixtureDataset, ...] = ()
    """Token datasets to draw from, by weight or by budget of tokens. Empty: the run's own, all of it. The run's length
    is `steps` or `tokens`, or where all datasets have budgets their sum. `--dry-run` prints the plan."""
    shard_cache: str | None = None
    """Folder of this machine for shards of datasets in object stores, shared by all runs. None: `gptmill/shards` in the
    user's cache folder."""
    shard_cache_bytes: int = Field(default=100 << 30, gt=0)
    """Most bytes kept there: what was used longest ago goes. Make it as large as the datasets, since rows are drawn in
    random order."""

    @model_validator(mode="after")
    def _check_batch_ramp(self) -> Self:
        if self.batch_ramp is not None and self.batch_ramp.start_tokens > self.global_batch_tokens:
            raise ValueError(
                f"batch_ramp.start_tokens {self.batch_ramp.start_tokens} is above global_batch_tokens "
                f"{self.global_batch_tokens}: a ramp only grows"
            )
        return self

    @model_validator(mode="after")
    def _check_mixture(self) -> Self:
        names = [dataset.name for dataset in self.mixture]
        if len(set(names)) < len(names):
            raise ValueError(f"mixture: names must differ, got {', '.join(names)}")
        if len(names) > 1 and self.epochs is not None:
            raise ValueError("epochs has no meaning with a mixture: give steps or tokens")
        if len(names) > 1 and self.steps is None and self.tokens is None and not self.has_only_budgets:
            raise ValueError("mixture: with weights the run's length must be given: steps or tokens")
        return self

    @property
    def has_only_budgets(self) -> bool:
        """Whether the mixture says by itself how long the run is."""
        return bool(self.mixture) and all(dataset.tokens is not None for dataset in self.mixture)

    def rows_per_step(self, context_length: int) -> int:
        """Rows in one step; raises ValueError when the batch is no whole number of rows."""
        return _rows("global_batch_tokens", self.global_batch_tokens, context_length)

    def batches(self, context_length: int) -> BatchRamp:
        """Rows of each step; raises ValueError when one is no whole number of rows."""
        full, ramp = self.rows_per_step(context_length), self.batch_ramp
        if ramp is None:
            return BatchRamp(full)
        return BatchRamp(
            full,
            start=_rows("batch_ramp.start_tokens", ramp.start_tokens, context_length),
            over=ramp.over_tokens // context_length,
            increment=_rows("batch_ramp.increment_tokens", ramp.increment_tokens or ramp.start_tokens, context_length),
        )

    def total_steps(self, rows: int, context_length: int) -> int:
        """Optimizer steps of the whole run on a dataset of `rows` rows."""
        if self.tokens is not None:
            return max(1, self.batches(context_length).steps_within(self.tokens // context_length))
        if self.steps is None and self.epochs is None and self.has_only_budgets:
            budgets = sum(dataset.tokens or 0 for dataset in self.mixture)
            return max(1, self.batches(context_length).steps_within(budgets // context_length))
        return super().total_steps(rows, context_length)


def _rows(key: str, tokens: int, context_length: int) -> int:
    if tokens % context_length:
        nearest = max(1, round(tokens / context_length)) * context_length
        raise ValueError(
            f"{key} {tokens} is no multiple of the context length {context_length}; the nearest is {nearest}"
        )
    return tokens // context_length
