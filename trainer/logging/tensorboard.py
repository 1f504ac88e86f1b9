"""TensorBoard: `tensorboard --logdir RUN/pretrain/tensorboard`.

Each start of a run writes a file of its own; one that begins behind a step tells TensorBoard to forget what older
files say of later ones, so that an interrupted run looks like one that never stopped.
"""

from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from trainer.logging.flat_line import flatten


class TensorBoardLogger:
    """Writes figures and texts as TensorBoard reads them."""

    def __init__(self, directory: Path) -> None:
        """Raises UserError when the package tensorboard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                f"tensorboard: true needs the package tensorboard ({error}): pip install tensorboard"
            ) from error
        self._make = SummaryWriter
        self._directory = str(directory)
        self._writer: Any = None

    def log(self, step: int, line: dict[str, Any]) -> None:
        """See `MetricLogger.log`."""
        for name, value in flatten(line).items():
            self._open(step).add_scalar(name, value, step)

    def log_text(self, step: int, name: str, text: str) -> None:
        """See `MetricLogger.log_text`."""
        self._open(step).add_text(name, text, step)

    def rewind(self, step: int) -> None:
        """See `MetricLogger.rewind`."""
        self.close(failed=False)
        self._writer = self._make(self._directory, purge_step=step + 1)

    def close(self, failed: bool) -> None:
        """See `MetricLogger.close`."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, step: int) -> Any:
        """The writer; made at the first line, so that a run that does nothing leaves no file."""
        if self._writer is None:
            self._writer = self._make(self._directory, purge_step=step)
        return self._writer
