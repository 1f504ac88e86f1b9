"""What becomes of each step, decided from its loss and gradient norm before any weight changes.

Both numbers are sums over all processes, so each process decides alike without asking. A step is skipped when one of
them lies more than `skip_sigma` standard deviations above the mean of the last `window` steps that were taken
(OLMo 2's SkipStepOptimizer), or is no number and `skip_not_finite` is set. Skipped steps do not enter the window: a
spike must not make the next one look ordinary. Only what lies above counts; a sudden low loss harms nothing.

After `rollback_after` skips in a row the run goes back to its last checkpoint and leaves out all data since then
(PaLM, section 5.1, did it by hand). Where nothing is rolled back, a whole window of skips in a row ends the run: such
a level is no spike, and a run that learns nothing must say so.

The windows and counts are part of a checkpoint, so a resumed run decides as one that never stopped.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import UserError
from trainer.settings.stability import StabilitySettings


@dataclass(frozen=True)
class Decision:
    """What to do with a step, and why."""

    action: Literal["take", "skip", "roll back"]
    message: str = ""
    """Why it is not taken, with values and limits."""


TAKE = Decision("take")


class SpikeGuard:
    """Judges the steps of a run, one after the other."""

    def __init__(self, settings: StabilitySettings) -> None:
        self._settings = settings
        self._windows: dict[str, deque[float]] = {
            name: deque(maxlen=settings.window) for name in ("loss", "gradient norm")
        }
        self.skips = 0
        """Steps skipped so far, without those whose checkpoint was left behind in a rollback."""
        self.skips_in_row = 0
        """Steps skipped since the last that was taken."""

    def judge(self, step: int, loss: float, gradient_norm: float) -> Decision:
        """The decision on a step (the first is 1), which is then counted as carried out.

        `loss` is the mean over the batch's valid tokens, `gradient_norm` that of the whole gradient before clipping.
        Raises UserError when one is no number and that is not to be skipped, or when skips do not end.
        """
        values = {"loss": loss, "gradient norm": gradient_norm}
        reasons = [reason for name, value in values.items() if (reason := self._objection(step, name, value))]
        if not reasons:
            self.skips_in_row = 0
            for name, value in values.items():
                self._windows[name].append(value)
            return TAKE
        self.skips += 1
        self.skips_in_row += 1
        message = f"step {step}: {'; '.join(reasons)}"
        settings = self._settings
        if settings.rollback_after and self.skips_in_row >= settings.rollback_after:
            return Decision("roll back", f"{message}; {_times(self.skips_in_row)} in a row")
        if self.skips_in_row >= settings.window:
            raise UserError(
                f"{message}, and so were the {settings.window - 1} steps before: this is no spike. Look at the data "
                "since then, lower optimizer.lr, or set stability.rollback_after"
            )
        return Decision("skip", message)

    def state(self) -> dict[str, Any]:
        """All that later decisions depend on, for JSON."""
        return {
            "losses": list(self._windows["loss"]),
            "gradient_norms": list(self._windows["gradient norm"]),
            "skips": self.skips,
            "skips_in_row": self.skips_in_row,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave; a window that was shortened since keeps the latest values."""
        for name, values in (("loss", state["losses"]), ("gradient norm", state["gradient_norms"])):
            self._windows[name].clear()
            self._windows[name].extend(values)
        self.skips, self.skips_in_row = state["skips"], state["skips_in_row"]

    def _objection(self, step: int, name: str, value: float) -> str:
        """What speaks against a step with this value; empty for nothing."""
        if not math.isfinite(value):
            if not self._settings.skip_not_finite:
                raise UserError(
                    f"the {name} is {value} at step {step}: lower optimizer.lr or raise schedule.warmup_steps; "
                    "stability.skip_not_finite leaves such steps out"
                )
            return f"the {name} is {value}"
        window = self._windows[name]
        if self._settings.skip_sigma is None or len(window) < self._settings.window:
            return ""
        mean, deviation = mean_and_deviation(window)
        limit = mean + self._settings.skip_sigma * deviation
        if value <= limit:
            return ""
        return f"the {name} {value:.5g} is above {limit:.5g} ({mean:.5g} + {self._settings.skip_sigma:g} sigma)"


def mean_and_deviation(values: Sequence[float] | deque[float]) -> tuple[float, float]:
    """Mean and sample standard deviation of two or more values, with exact sums."""
    count = len(values)
    mean = math.fsum(values) / count
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
