"""How weights follow the gradient, and how fast over the run."""

from typing import Literal, Self

from pydantic import Field, model_validator

from trainer.settings.base import Settings


class OptimizerSettings(Settings):
    """AdamW (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    """Which optimizer."""
    lr: float = Field(default=6e-4, gt=0.0, allow_inf_nan=False)
    """Peak learning rate. 6e-4 suits about 100 M parameters; smaller models take more."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the first and second moment. 0.95, not 0.999, as in GPT-3: follows the loss of large models."""
    eps: float = Field(default=1e-8, gt=0.0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.1, ge=0.0)
    """Decoupled decay, of matrices only: norms and biases are not decayed."""

    @model_validator(mode="after")
    def _check_betas(self) -> Self:
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {list(self.betas)}")
        return self


class ScheduleSettings(Settings):
    """Learning rate over the run: linear warm-up, then one of three ways down."""

    kind: Literal["cosine", "wsd", "linear"] = "cosine"
    """cosine: half a cosine down; linear: a straight line down; wsd: constant, then a line down over the
    last `decay_fraction` of the run (warm-up, stable, decay)."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps from 0 to the peak. None: `warmup_fraction` of the run."""
    warmup_fraction: float = Field(default=0.02, ge=0.0, le=1.0)
    """Part of the run spent warming up; read when `warmup_steps` is not given."""
    decay_fraction: float = Field(default=0.2, gt=0.0, le=1.0)
    """Part of the run in which wsd goes down."""
    final_fraction: float = Field(default=0.1, ge=0.0, le=1.0)
    """Learning rate at the end, as a part of the peak."""


class BatchRampSettings(Settings):
    """Batches that grow while the gradient is still easy to estimate (GPT-3, appendix B: 32 k to 3.2 M tokens)."""

    start_tokens: int = Field(gt=0)
    """Tokens of the first step: like `global_batch_tokens` a multiple of context length x data-parallel copies."""
    over_tokens: int = Field(gt=0)
    """Training tokens over which the batch grows, in a straight line by samples, to `global_batch_tokens`."""
    increment_tokens: int | None = Field(default=None, gt=0)
    """The batch grows by multiples of this. None: `start_tokens`."""
