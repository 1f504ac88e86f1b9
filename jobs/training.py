"""What pretraining and finetuning share: start the trainer, show its course, turn its exit into ours."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from jobs.job import Job
from jobs.mixture import show_mixture
from jobs.start_training import end_now, start_training
from jobs.terminal import PLAIN_SECONDS, console, duration, failed, note
from pipeline import storage
from pipeline.errors import Interrupted, UserError

if TYPE_CHECKING:
    from trainer.job import TrainingJob

INTERRUPTED = 75
HANG = 124
TOLD = frozenset(
    {
        "resume",
        "stopping",
        "stop",
        "stopped_at_once",
        "warning",
        "changed",
        "allowed",
        "restart",
        "gave_up",
        "skip",
        "rollback",
        "loss_scale",
    }
)
"""Events whose message is shown."""


class TrainingFailed(UserError):
    """The trainer ended with an error."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def train(job: Job, training: TrainingJob) -> dict[str, Any]:
    """Run a training job to its end and return its manifest.

    Raises:
        Interrupted: it was told to stop and has saved.
        TrainingFailed: it failed; carries the trainer's exit code.
    """
    course = Course()
    try:
        code = start_training(job, training, course.show)
    finally:
        course.close()
    if code != 0 and job.launching.is_external:
        failed(f"{training.kind} ended with exit code {code}: {course.error or 'see the lines above'}")
        end_now(code)
    if code == INTERRUPTED:
        raise Interrupted(f"{training.kind} {course.end}")
    if code != 0:
        logs = storage.join(str(training.directory), "logs")
        raise TrainingFailed(
            f"{training.kind} failed (exit code {code}): {course.error or 'see the logs'}; logs in {logs}", code
        )
    if course.asked_to_stop:  # in the last step: the steps of the recipe that follow are not begun
        job.stop.pending = True
    manifest: dict[str, Any] = storage.read_json(storage.join(str(training.directory), "manifest.json"))
    return manifest


class Course:
    """Shows a training run: a bar in a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._steps = 0
        self._last_line = 0.0
        self.error = ""
        """What the trainer said went wrong."""
        self.asked_to_stop = False
        """Whether a signal asked for the end."""
        self.end = "stopped before its first step: the same command starts it"
        """How a run ended that was interrupted."""

    def show(self, event: dict[str, Any]) -> None:
        """One event of the trainer."""
        kind = event.get("event")
        if kind == "start":
            if event.get("plan"):
                show_mixture(event["plan"])
            self._steps = int(event.get("steps", 0))
            self._begin(int(event.get("step", 0)))
        elif kind == "step":
            self._step(event)
        elif kind == "validation":
            loss, bits = event.get("validation_loss"), event.get("bits_per_byte")
            text = f"  step {event['step']}: validation loss {loss:.4f}" if loss is not None else "  validation"
            console.print(text + (f", {bits:.4f} bits per byte" if bits is not None else ""))
        elif kind == "sample":
            console.print(f"  [dim]{escape(str(event.get('prompt', '')))}[/dim]{escape(str(event.get('text', '')))}")
        elif kind in TOLD:
            self._tell(str(kind), event)
        elif kind == "error":
            self.error = str(event.get("message", event))

    def _begin(self, step: int) -> None:
        self.close()  # of a start before this one
        if not console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("  step"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=self._steps, completed=step, state="")

    def _tell(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "restart":
            note(f"  {self.error}")
        note(f"  {event.get('message') or event}")
        self.asked_to_stop = self.asked_to_stop or kind == "stopping"
        if kind == "stop":
            self.end = "stopped and saved: the same command continues"
        elif kind == "stopped_at_once":
            self.end = "stopped without saving: the same command continues from the last checkpoint"

    def _step(self, event: dict[str, Any]) -> None:
        state = f"loss {event['loss']:.4f}, {event.get('tokens_per_second', 0):,.0f} tokens/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=event["step"], state=state)
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            left = event.get("seconds_left")
            console.print(
                f"  step {event['step']} of {self._steps}: {state}"
                + (f", {duration(left)} left" if left is not None else "")
            )

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        sys.stderr.flush()
