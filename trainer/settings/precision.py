"""The loss scale of fp16 training."""

from pydantic import Field

from trainer.settings.base import Settings


class LossScaleSettings(Settings):
    """Dynamic loss scale (Micikevicius et al. 2018): halved when a gradient overflows, doubled after a calm time."""

    initial: float = Field(default=65536.0, gt=0.0)
    """Scale of the first step."""
    growth_steps: int = Field(default=1000, gt=0)
    """Steps without an overflow after which the scale is doubled."""
    minimum: float = Field(default=1.0, gt=0.0)
    """An overflow at this scale ends the run: the gradient is no number."""
