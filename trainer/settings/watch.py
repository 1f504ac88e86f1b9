"""Limits of time: when a run hangs, and when it must end."""

from pydantic import Field

from trainer.settings.base import Settings


class WatchSettings(Settings):
    """A process that stays in one phase longer than its limit ends the run with all stacks printed (exit code 124)."""

    start_minutes: float = Field(default=30.0, gt=0.0)
    """Limit from the start to the end of the first step: loading, compiling, the first messages."""
    step_minutes: float = Field(default=15.0, gt=0.0)
    """Limit of one later step, or of one batch of a validation."""
    save_minutes: float = Field(default=30.0, gt=0.0)
    """Limit of writing or reading a checkpoint."""
    end_after_minutes: float | None = Field(default=None, gt=0.0)
    """The run saves and ends (exit code 75) so many minutes after its start. None: under Slurm the job's own end, else
    never."""
    save_before_end_minutes: float = Field(default=5.0, ge=0.0)
    """How long before that end the save begins."""
    restarts: int = Field(default=0, ge=0)
    """How often a run that failed or hung is started again from its last good checkpoint, with waits that double. It is
    given up earlier when it fails three times at the same step. `--restarts` says another number."""
