"""The loss scale of fp16: gradients below fp16's smallest number would vanish, so losses are multiplied first.

Dynamic, by Micikevicius et al. 2018, section 3.2: a gradient that overflows halves the scale and its step is left
out; after `growth_steps` steps without an overflow the scale is doubled. Powers of two change no bit of a gradient
that neither vanishes nor overflows. The state is two numbers, saved in checkpoints.
"""

from typing import TypedDict

from trainer.settings.precision import LossScaleSettings

LARGEST_SCALE = 2.0**24
"""A loss multiplied by more overflows in fp32 before any gradient of interest does."""


class LossScaleState(TypedDict):
    """What a checkpoint holds of the loss scale."""

    scale: float
    calm_steps: int


class LossScale:
    """The factor of the losses, and what is learned about it from each step."""

    def __init__(self, settings: LossScaleSettings) -> None:
        self._settings = settings
        self.scale = settings.initial
        self.calm_steps = 0

    @property
    def is_smallest(self) -> bool:
        """Whether an overflow can no longer be answered by halving."""
        return self.scale <= self._settings.minimum

    def stayed_finite(self) -> None:
        """A step was taken."""
        self.calm_steps += 1
        if self.calm_steps >= self._settings.growth_steps:
            self.scale = min(self.scale * 2, LARGEST_SCALE)
            self.calm_steps = 0

    def overflowed(self) -> None:
        """A gradient was not finite, its step is left out."""
        self.scale = max(self.scale / 2, self._settings.minimum)
        self.calm_steps = 0

    def state(self) -> LossScaleState:
        """For a checkpoint."""
        return {"scale": self.scale, "calm_steps": self.calm_steps}

    def load(self, state: LossScaleState) -> None:
        """Go on from a checkpoint."""
        self.scale, self.calm_steps = float(state["scale"]), int(state["calm_steps"])
