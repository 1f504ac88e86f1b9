"""Learning rate of a step: a pure function of the step's number, so there is nothing to save or restore."""

import math

from trainer.settings import ScheduleSettings


def learning_rate(settings: ScheduleSettings, peak: float, step: int, steps: int) -> float:
    """The rate that step `step` (the first is 0) of `steps` uses.

    Warm-up reaches the peak in its last step; the last step of the run is at the final rate. cosine: Loshchilov &
    Hutter 2017, eq. 5 without restarts; wsd: Hu et al. 2024 (MiniCPM) with a linear decay.
    """
    warmup = settings.warmup_steps
    if warmup is None:
        warmup = round(settings.warmup_fraction * steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    decay_start = warmup
    if settings.kind == "wsd":
        decay_start = max(warmup, steps - round(settings.decay_fraction * steps))
    gone = (step + 1 - decay_start) / max(1, steps - decay_start)
    gone = min(1.0, max(0.0, gone))
    if settings.kind == "cosine":
        gone = (1.0 - math.cos(math.pi * gone)) / 2.0
    return peak * (1.0 - (1.0 - settings.final_fraction) * gone)
