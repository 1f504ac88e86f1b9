"""Rotary positions beyond the context that a model was first trained with."""

from typing import Literal, Self

from pydantic import Field, model_validator

from trainer.settings.base import Settings


class RopeScaling(Settings):
    """How rotary angles are changed, so that a longer context looks like the original one."""

    kind: Literal["linear", "ntk", "yarn", "llama3"]
    """linear: positions divided by `factor` (Chen et al. 2023). ntk: a larger base instead, which leaves fast angles
    nearly as they were (NTK-aware, Peng et al. 2023, section 3.1). yarn: slow angles divided, fast ones kept, attention
    made sharper (Peng et al. 2023). llama3: the same idea with other limits (Grattafiori et al. 2024, Llama 3.1)."""
    factor: float = Field(gt=1.0, allow_inf_nan=False)
    """New context length over the original one."""
    original_context_length: int | None = Field(default=None, gt=0)
    """Context length of the first training; yarn and llama3 need it."""
    beta_fast: float = Field(default=32.0, gt=0.0)
    """yarn: angles that turn more often than this within the original context are kept."""
    beta_slow: float = Field(default=1.0, gt=0.0)
    """yarn: angles that turn less often than this are divided by `factor`; between the two, a ramp."""
    attention_factor: float | None = Field(default=None, gt=0.0)
    """yarn: what queries and keys are multiplied by. None: 0.1 ln(factor) + 1."""
    low_frequency_factor: float = Field(default=1.0, gt=0.0)
    """llama3: angles that turn less often than this within the original context are divided by `factor`."""
    high_frequency_factor: float = Field(default=4.0, gt=0.0)
    """llama3: angles that turn more often than this are kept; between the two, a blend."""

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.kind in ("yarn", "llama3") and self.original_context_length is None:
            raise ValueError(f"rope_scaling of kind {self.kind} needs original_context_length")
        if self.kind == "yarn" and self.beta_fast <= self.beta_slow:
            raise ValueError(f"beta_fast {self.beta_fast} must be above beta_slow {self.beta_slow}")
        if self.kind == "llama3" and self.high_frequency_factor <= self.low_frequency_factor:
            raise ValueError(
                f"high_frequency_factor {self.high_frequency_factor} must be above "
                f"low_frequency_factor {self.low_frequency_factor}"
            )
        return self
