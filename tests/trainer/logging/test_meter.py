"""What is said of speed and memory."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from trainer.estimate.flops import flops_per_token
from trainer.logging import meter as module
from trainer.logging.meter import Meter, meter_of, peak_memory
from trainer.settings import ModelSettings

SHAPE = ModelSettings(layers=2, width=32, heads=2).shaped(vocab_size=64, context_length=16)


class Clock:
    """Time as the test says it passes."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


def test_speed_is_tokens_by_the_seconds_of_steps_alone(clock: Clock) -> None:
    meter = Meter(token_flops=1e6, devices=4, peak=None)
    clock.now += 2.0
    assert meter.count(600, 1200.0) == 2.0
    clock.now += 50.0  # a validation
    meter.lap()
    clock.now += 1.0
    meter.count(300, 300.0)
    measured = meter.take()
    assert measured["mean_loss"] == pytest.approx(1500 / 900)
    assert (measured["tokens_per_second"], measured["tokens_per_second_per_device"]) == (300.0, 75.0)
    assert (measured["mfu"], measured["step_seconds"]) == (None, 1.5)


def test_what_was_taken_is_not_counted_again(clock: Clock) -> None:
    meter = Meter(token_flops=1e6, devices=1, peak=None)
    clock.now += 2.0
    meter.count(100, 100.0)
    meter.take()
    clock.now += 1.0
    meter.count(10, 40.0)
    assert meter.take()["mean_loss"] == 4.0


def test_steps_that_were_skipped_cost_time_and_have_no_loss(clock: Clock) -> None:
    meter = Meter(token_flops=1e6, devices=1, peak=None)
    clock.now += 1.0
    meter.count(100, float("nan"), taken=False)
    assert meter.take()["mean_loss"] is None
    clock.now += 1.0
    meter.count(100, float("nan"), taken=False)
    clock.now += 1.0
    meter.count(100, 200.0)
    measured = meter.take()
    assert (measured["mean_loss"], measured["tokens_per_second"]) == (2.0, 100.0)


def test_utilisation_is_of_the_peak_of_all_devices(clock: Clock) -> None:
    meter = meter_of(SHAPE, 2, torch.device("cpu"), "fp32", teraflops=0.001)
    clock.now += 1.0
    meter.count(1000, 1.0)
    assert meter.take()["mfu"] == round(flops_per_token(SHAPE, 16).total * 1000 / 2e9, 4)


def test_a_processor_whose_peak_nobody_gave_has_no_utilisation(clock: Clock) -> None:
    meter = meter_of(SHAPE, 1, torch.device("cpu"), "fp32", teraflops=None)
    clock.now += 1.0
    meter.count(1000, 1.0)
    assert meter.take()["mfu"] is None


def test_a_gpu_has_the_peak_of_its_name_and_precision(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.torch, "cuda", SimpleNamespace(get_device_name=lambda _: "NVIDIA H100 80GB HBM3"))
    for precision, peak in (("bf16", 989e12), ("fp32", 67e12)):
        meter = meter_of(SHAPE, 1, torch.device("cuda", 0), precision, teraflops=None)
        clock.now += 1e-6
        meter.count(1000, 1.0)
        assert meter.take()["mfu"] == pytest.approx(flops_per_token(SHAPE, 16).total * 1e9 / peak, abs=1e-4)


def test_peak_memory_of_a_process_covers_what_it_holds() -> None:
    held = torch.ones(32_000_000)
    assert held[-1] == 1.0
    assert peak_memory(torch.device("cpu")) >= max(4 * 32_000_000, 0.98 * psutil.Process().memory_info().rss)
