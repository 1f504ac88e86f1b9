"""What is done about steps that are out of the ordinary."""

from typing import Self

from pydantic import Field, model_validator

from trainer.settings.base import Settings


class StabilitySettings(Settings):
    """Spikes of the loss or the gradient norm: skip the step, and after several go back and leave the data out."""

    skip_sigma: float | None = Field(default=None, gt=0.0)
    """A step whose loss or gradient norm is more than so many standard deviations above the mean of the last `window`
    steps is skipped: no weight changes. None: never. 6 is OLMo's."""
    window: int = Field(default=128, ge=2)
    """Steps whose mean and deviation a step is compared with; none is skipped before so many were seen."""
    skip_not_finite: bool = False
    """Whether a step whose loss or gradient is no number is skipped too, instead of ending the run."""
    rollback_after: int = Field(default=0, ge=0)
    """So many skipped steps in a row take the run back to its last checkpoint, and the data of the steps since then is
    left out. 0: never."""
    most_rollbacks: int = Field(default=3, gt=0)
    """A run that would be taken back more often ends with an error."""

    @model_validator(mode="after")
    def _check_rollback(self) -> Self:
        if self.rollback_after and self.skip_sigma is None and not self.skip_not_finite:
            raise ValueError(
                "rollback_after has no meaning where nothing is skipped: set skip_sigma or skip_not_finite"
            )
        return self
