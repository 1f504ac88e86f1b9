"""Loss, speed, utilisation and memory between two logged steps.

Time for anything but steps (validation, samples, saving) is left out. MFU is the formula of `trainer.estimate.flops`;
it is given where the peak of the device is known: by `device_teraflops`, or by the name of the GPU.
"""

import resource
import sys
import time
from typing import Any

import torch

from trainer.estimate.flops import find_device, flops_per_token, model_flops_utilisation
from trainer.settings import ModelShape


class Meter:
    """Counts the steps of a run; `take` gives what was measured since it was last called."""

    def __init__(self, token_flops: float, devices: int, peak: float | None) -> None:
        """`peak` in FLOP/s of one device; None: MFU is not given."""
        self._token_flops, self._devices, self._peak = token_flops, devices, peak
        self._clear()
        self._since = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap or the start."""
        now = time.perf_counter()
        passed, self._since = now - self._since, now
        return passed

    def count(self, tokens: int, loss_sum: float, taken: bool = True) -> float:
        """A step over so many valid tokens ends now; returns its seconds.

        The loss of a step that was not taken is left out of the mean: it may be no number.
        """
        seconds = self.lap()
        self._tokens += tokens
        self._steps += 1
        self._seconds += seconds
        if taken:
            self._taken_tokens += tokens
            self._loss += loss_sum
        return seconds

    def take(self) -> dict[str, Any]:
        """mean_loss (nats per token of the steps taken), tokens_per_second, the same per device, mfu; then from zero.

        What cannot be said is None: a mean of no steps, MFU of a device without a known peak.
        """
        speed = self._tokens / self._seconds
        mfu = None
        if self._peak is not None:
            mfu = round(model_flops_utilisation(self._token_flops, speed, self._devices, self._peak), 4)
        measured = {
            "mean_loss": self._loss / self._taken_tokens if self._taken_tokens else None,
            "tokens_per_second": round(speed, 1),
            "tokens_per_second_per_device": round(speed / self._devices, 1),
            "mfu": mfu,
            "step_seconds": round(self._seconds / self._steps, 6),
        }
        self._clear()
        return measured

    def _clear(self) -> None:
        self._tokens = self._taken_tokens = self._steps = 0
        self._seconds = self._loss = 0.0


def meter_of(shape: ModelShape, devices: int, device: torch.device, precision: str, teraflops: float | None) -> Meter:
    """The meter of a run; `teraflops` as the settings give the peak of one device, None: by the device's name."""
    flops = flops_per_token(shape, shape.context_length).total
    peak = None if teraflops is None else teraflops * 1e12
    if peak is None and device.type == "cuda":
        known = find_device(torch.cuda.get_device_name(device))
        peak = None if known is None else known.peak(precision)
    return Meter(flops, devices, peak)


def peak_memory(device: torch.device) -> int:
    """Most bytes that this process has had: of a GPU what tensors took, else resident memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
