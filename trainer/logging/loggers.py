"""What the journal passes its lines to, and which of them a run has.

A logger is made on the first process only. Its package is imported when the settings ask for it, at the start: one
that is missing is an error before the first step, not after the first hour.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from trainer.settings import TrainingSettings

WRITTEN_BY_LOGGERS = ("tensorboard", "wandb", "wandb_id", "profile")
"""What loggers and traces leave in a training directory."""


class MetricLogger(Protocol):
    """Receives what the journal writes."""

    def log(self, step: int, line: dict[str, Any]) -> None:
        """Figures measured after `step` steps: one line of metrics.jsonl without the step."""

    def log_text(self, step: int, name: str, text: str) -> None:
        """A sample or an event, for people."""

    def rewind(self, step: int) -> None:
        """What was logged after `step` steps does not count: these steps are done again."""

    def close(self, failed: bool) -> None:
        """All is said, and whether the run failed; wait until it is written."""


def make_loggers(settings: "TrainingSettings", directory: Path, described: dict[str, Any]) -> list[MetricLogger]:
    """The loggers that the settings ask for.

    Args:
        settings: Of the run.
        directory: Of the training: files go to `tensorboard/` and `wandb/` in it.
        described: Settings and sizes of the run, for loggers that list runs by them.

    Raises:
        UserError: a package is not installed, or Weights & Biases refuses the run.
    """
    loggers: list[MetricLogger] = []
    if settings.tensorboard:
        from trainer.logging.tensorboard import TensorBoardLogger

        loggers.append(TensorBoardLogger(directory / "tensorboard"))
    if settings.wandb is not None:
        from trainer.logging.weights_and_biases import WandbLogger

        loggers.append(WandbLogger(settings.wandb, directory, described))
    return loggers
