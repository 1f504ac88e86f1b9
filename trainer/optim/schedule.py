"""Learning rate of a step: a pure function of the step's number, so there is nothing to save or restore.

The way through a run is measured in samples, in units of a full batch. With a batch ramp an early step so counts for
as much as it has seen (as in GPT-3, whose warm-up is given in tokens); without one the unit is a step.
"""

import math

from trainer.batch_ramp import BatchRamp
from trainer.settings import ScheduleSettings

DECAY_FRACTION = {"wsd": 0.2}
"""Part of the run in which a kind goes down at its end, where the settings do not say."""


def learning_rate(
    settings: ScheduleSettings, peak: float, step: int, steps: int, batches: BatchRamp | None = None
) -> float:
    """The rate that step `step` (the first is 0) of `steps` uses.

    Warm-up reaches the peak in its last step; the last step of the run is at the final rate. cosine: Loshchilov &
    Hutter 2017, eq. 5 without restarts; wsd: Hu et al. 2024 (MiniCPM) with a linear decay; inverse_sqrt: Vaswani et al.
    2017, eq. 3, scaled to the peak.

    Args:
        settings: The form.
        peak: Largest rate.
        step: Number of the step.
        steps: Of the run.
        batches: Rows of each step. None: all are equal.
    """
    batches = batches or BatchRamp(1)
    done = _full_batches(batches, step + 1)
    length = _full_batches(batches, steps)
    if settings.warmup_steps is None:
        warmup = float(round(settings.warmup_fraction * length))
    else:
        warmup = _full_batches(batches, settings.warmup_steps)
    if done <= warmup:
        return peak * done / warmup
    if settings.kind == "constant":
        return peak
    down_from = _start_of_descent(settings, warmup, length)
    gone = min(1.0, (done - down_from) / (length - down_from)) if min(done, length) > down_from else 0.0
    if settings.kind == "inverse_sqrt":
        start = _inverse_root(peak, warmup, min(done, down_from))
        return start - (start - min(start, settings.final_fraction * peak)) * gone
    if settings.kind == "cosine":
        gone = (1.0 - math.cos(math.pi * gone)) / 2.0
    return peak * (1.0 - (1.0 - settings.final_fraction) * gone)


def _full_batches(batches: BatchRamp, step: int) -> float:
    return batches.samples_before(step) / batches.rows_per_step


def _start_of_descent(settings: ScheduleSettings, warmup: float, length: float) -> float:
    if settings.kind in ("cosine", "linear"):
        return warmup
    fraction = settings.decay_fraction or DECAY_FRACTION.get(settings.kind, 0.0)
    return max(warmup, length - round(fraction * length))


def _inverse_root(peak: float, warmup: float, done: float) -> float:
    return peak * math.sqrt(min(1.0, max(warmup, 1.0) / done))
