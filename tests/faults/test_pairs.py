"""Interrupted in the middle of an accumulation, then killed: bit-equal with every two ways to train at once."""

import itertools
import signal
from pathlib import Path
from typing import Any

import pytest

from bench.forked_run import CONTEXT, ForkedRun
from bench.planned_faults import Fault, Planned
from tests.faults.forked import assert_same_course, write_rows
from trainer.exit_codes import DONE, FAILED, INTERRUPTED

WAYS: tuple[dict[str, dict[str, Any]], ...] = (
    {
        "adamw": {"optimizer": {"lr": 0.005}},
        "adafactor": {"optimizer": {"kind": "adafactor", "lr": 0.005, "beta1": 0.9}},
        "muon": {"optimizer": {"kind": "muon", "lr": 0.005}},
    },
    {
        "data 2": {"parallel": {"data": 2}},
        "tensor 2": {"parallel": {"data": 1, "tensor": 2}},
        "pipeline 2": {"parallel": {"data": 1, "pipeline": 2}},
    },
    {
        "fp32": {"precision": "fp32"},
        "bf16": {"precision": "bf16"},
        # The first steps overflow, and the scale grows again between others.
        "fp16": {"precision": "fp16", "loss_scale": {"initial": 2.0**20, "growth_steps": 2}},
    },
    {
        "plain": {},
        "ramp": {"batch_ramp": {"start_tokens": 4 * CONTEXT, "over_tokens": 30 * CONTEXT}},
        "mixture": {"mixture": [{"name": "own", "weight": 2}, {"name": "other", "data": "other", "weight": 1}]},
    },
    {"asynchronous": {"asynchronous_checkpoints": True}, "waiting": {"asynchronous_checkpoints": False}},
    {"dropout": {}, "no dropout": {}},
)
RUNS = (
    ("adafactor", "data 2", "fp16", "mixture", "waiting", "no dropout"),
    ("adamw", "data 2", "fp32", "ramp", "asynchronous", "dropout"),
    ("muon", "tensor 2", "bf16", "plain", "asynchronous", "no dropout"),
    ("adafactor", "pipeline 2", "bf16", "plain", "waiting", "dropout"),
    ("muon", "tensor 2", "fp32", "mixture", "waiting", "dropout"),
    ("muon", "pipeline 2", "fp16", "ramp", "asynchronous", "no dropout"),
    ("adamw", "tensor 2", "fp16", "plain", "waiting", "dropout"),
    ("adamw", "pipeline 2", "bf16", "mixture", "asynchronous", "no dropout"),
    ("adafactor", "tensor 2", "fp32", "ramp", "waiting", "no dropout"),
    ("muon", "data 2", "bf16", "ramp", "waiting", "no dropout"),
    ("adafactor", "pipeline 2", "fp32", "plain", "asynchronous", "no dropout"),
    ("muon", "data 2", "bf16", "plain", "asynchronous", "no dropout"),
)
STEPS = 12


def test_every_two_ways_meet_in_a_run() -> None:
    wanted = {
        frozenset(pair) for one, other in itertools.combinations(WAYS, 2) for pair in itertools.product(one, other)
    }
    met = {frozenset(pair) for run in RUNS for pair in itertools.combinations(run, 2)}
    assert not wanted - met


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pairs")
    return write_rows(folder / "own"), write_rows(folder / "other", 30, seed=8, fingerprint="data-2")


@pytest.mark.parametrize("ways", RUNS, ids=", ".join)
def test_an_interruption_and_a_kill_do_not_show(
    datasets: tuple[Path, Path], tmp_path: Path, ways: tuple[str, ...]
) -> None:
    own, other = datasets
    settings: dict[str, Any] = {"steps": STEPS, "checkpoint_every": 4, "validation_every": 5, "micro_batch_size": 1}
    for known, way in zip(WAYS, ways, strict=True):
        settings |= known[way]
    if "mixture" in settings:
        settings["mixture"] = [
            {**entry, **({"data": str(other)} if "data" in entry else {})} for entry in settings["mixture"]
        ]
    model = {"dropout": 0.1 if ways[-1] == "dropout" else 0.0, "layers": 2}
    whole, stopped = (ForkedRun(tmp_path / part, own, model, settings) for part in ("whole", "stopped"))
    assert whole.start() == DONE, whole.events
    assert stopped.start(Planned((Fault(1, signal.SIGTERM, "gradient", step=2, micro_batch=2),))) == INTERRUPTED
    assert stopped.start(Planned((Fault(0, signal.SIGKILL, "gradient", step=7, seconds=0.002),))) == FAILED
    assert stopped.start() == DONE, stopped.events
    assert_same_course(stopped, whole)
    if "fp16" in ways:
        scales = [line["loss_scale"] for line in whole.lines() if "loss_scale" in line]
        assert any(line.get("skipped") for line in whole.lines()), "the scale was halved"
        assert any(later > before for before, later in itertools.pairwise(scales)), "and has grown"
