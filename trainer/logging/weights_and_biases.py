"""Weights & Biases, online or offline.

The run's identifier is drawn once and kept in `wandb_id` of the training directory, so all starts of a run are one
run there. Lines carry their step as a figure of its own, because W&B's internal step cannot go back: after a resume
or a rollback the later line of a step is the one that counts.
"""

import html
import secrets
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import UserError
from trainer.logging.flat_line import flatten
from trainer.settings.logging import WandbSettings

IDENTIFIER = "wandb_id"
"""File of a training directory."""


class WandbLogger:
    """Sends figures and texts to one run at Weights & Biases."""

    def __init__(self, settings: WandbSettings, directory: Path, described: dict[str, Any]) -> None:
        """Raises UserError when the package wandb is not installed or the run cannot be opened."""
        try:
            import wandb
        except ImportError as error:
            raise UserError(f"wandb needs the package wandb ({error}): pip install wandb") from error
        self._wandb = wandb
        try:
            self._run = wandb.init(
                project=settings.project,
                name=settings.name or _name_of(directory),
                id=_identifier(directory),
                dir=str(directory),
                mode=settings.mode,
                resume="allow",
                config=described,
                settings=wandb.Settings(silent=True, x_disable_stats=True, console="off"),
            )
        except wandb.Error as error:
            raise UserError(
                f"Weights & Biases does not open the run ({error}): run `wandb login`, or set wandb.mode: offline"
            ) from error
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, line: dict[str, Any]) -> None:
        """See `MetricLogger.log`."""
        self._run.log({"step": step, **flatten(line)})

    def log_text(self, step: int, name: str, text: str) -> None:
        """See `MetricLogger.log_text`."""
        self._run.log({"step": step, name: self._wandb.Html(f"<pre>{html.escape(text)}</pre>")})

    def rewind(self, step: int) -> None:
        """Nothing can be taken back; the later line of a step counts."""

    def close(self, failed: bool) -> None:
        """See `MetricLogger.close`."""
        self._run.finish(exit_code=int(failed))
        # Offline, `finish` returns before W&B's service process has written the last lines; its end is waited for.
        self._wandb.teardown(exit_code=int(failed))


def _identifier(directory: Path) -> str:
    path = directory / IDENTIFIER
    if not path.exists():
        with storage.write_atomically(str(path)) as file:
            file.write(secrets.token_hex(8).encode())
    return path.read_text(encoding="utf-8").strip()


def _name_of(directory: Path) -> str:
    """`quickstart/pretrain` of `runs/quickstart/pretrain`."""
    return "/".join(directory.absolute().parts[-2:])
