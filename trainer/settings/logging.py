"""Where the course of a run is told, beside its own files."""

from typing import Literal

from pydantic import Field

from trainer.settings.base import Settings


class WandbSettings(Settings):
    """Weights & Biases; needs the package wandb."""

    project: str = Field(default="gptmill", min_length=1)
    """Project that the run belongs to."""
    name: str | None = None
    """Name of the run. None: that of the run's directory."""
    mode: Literal["online", "offline"] = "online"
    """offline: written to `wandb/` of the training directory, to be sent later with `wandb sync`."""


class ProfileSettings(Settings):
    """A trace of some steps, as Chrome or Perfetto show it, one file a process in `profile/`."""

    start: int = Field(default=10, gt=0)
    """First step that is traced."""
    steps: int = Field(default=3, gt=0)
    """How many."""
    memory: bool = False
    """Whether to trace allocations too."""
