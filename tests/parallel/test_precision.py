"""Lower precisions: near to fp32 in every layout, and an overflow on any process is one of all processes."""

import math
from typing import Any

import pytest
import torch

from tests.parallel.cases import (
    RATES,
    Case,
    Trained,
    apart,
    batch_of,
    compute_gradient,
    differences,
    layout_of,
    make_engine,
    train_case,
)
from tests.parallel.launcher import run_ranks
from trainer.model.declaration import declare_parameters
from trainer.ranks import Ranks
from trainer.settings.precision import LossScaleSettings

LAYOUTS = [
    layout_of(4, 1, 1, zero=3, parts=2),
    layout_of(2, 2, 1, zero=2, parts=2),
    layout_of(2, 2, 1, zero=1, parts=2, sequence=True),
    layout_of(2, 1, 2, zero=1, parts=2),
    layout_of(2, 1, 2, zero=0, parts=2),
    layout_of(1, 2, 2, zero=1, parts=2),
]
LEARNERS = [
    *(Case("tied", layout, precision="bf16") for layout in LAYOUTS if layout.zero),
    *(
        Case("untied", layout, options=(("loss_scale", LossScaleSettings(initial=256.0)),), precision="fp16")
        for layout in LAYOUTS
        if layout.zero
    ),
]
OVERFLOWING = [Case("untied", layout, precision="fp16") for layout in LAYOUTS]
BANDS = {
    "bf16": {"loss": 2e-3, "gradient": 0.05, "gradient of norms": 0.05, "norm": 0.01, "weight": 0.02},
    "fp16": {"loss": 2e-4, "gradient": 5e-3, "gradient of norms": 5e-3, "norm": 5e-4, "weight": 3e-3},
}
"""About thrice what is seen; bfloat16 has 8 bits of precision, half precision 11."""
SCALE = 2.0**36
"""A loss scale with which every gradient overflows."""


def work(ranks: Ranks) -> dict[str, Any]:
    return {
        "learned": [train_case(ranks, case) for case in LEARNERS],
        "large": [begin_with_too_large_a_scale(ranks, case) for case in OVERFLOWING],
        "one": [overflow_of_one(ranks, case) for case in OVERFLOWING],
    }


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    """By rank."""
    return run_ranks(4, work, timeout=200)


@pytest.mark.parametrize("number", range(len(LEARNERS)), ids=[str(case) for case in LEARNERS])
def test_lower_precisions_stay_within_their_band(number: int, found: list[dict[str, Any]]) -> None:
    case = LEARNERS[number]
    by_rank: list[Trained] = [one["learned"][number] for one in found]
    assert len({one.digest for one in by_rank}) == 1
    assert all(one.initial_is_exact for one in by_rank), "the weights themselves are fp32"
    assert by_rank[0].curve is not None
    assert all(weight.dtype == torch.float32 for weight in by_rank[0].curve.weights.values())
    now = differences(case, by_rank[0])
    print(case, {name: f"{value:.1e}" for name, value in now.items()})
    assert now["gradient"] > 1e-5, "computed in fp32"
    assert {name: value for name, value in now.items() if value > BANDS[case.precision].get(name, math.inf)} == {}


def begin_with_too_large_a_scale(ranks: Ranks, case: Case) -> list[tuple[bool, float]]:
    """Steps until three are taken: (whether it was taken, the loss scale after it)."""
    scale = LossScaleSettings(initial=SCALE, growth_steps=2)
    engine = make_engine(ranks, Case(case.model, case.layout, options=(("loss_scale", scale),), precision="fp16"))
    before = {name: weight.clone() for name, weight in engine.full_weights()}
    history = []
    while engine.optimizer_steps < 3:
        compute_gradient(engine, ranks, batch_of("ragged", 0))
        is_finite = math.isfinite(engine.gradient_norm())
        if is_finite and engine.optimizer_steps == 0:
            assert max(apart(dict(engine.full_weights()), before).values()) == 0.0
        engine.step(RATES[0]) if is_finite else engine.skip()
        state = engine.scaler_state()
        assert state is not None
        history.append((is_finite, state["scale"]))
    engine.close()
    return history


def test_an_overflow_is_skipped_by_all_and_halves_the_scale(found: list[dict[str, Any]]) -> None:
    for number, case in enumerate(OVERFLOWING):
        histories = [one["large"][number] for one in found]
        assert all(history == histories[0] for history in histories), case
        taken = [is_finite for is_finite, _ in histories[0]]
        assert not taken[0], case
        assert sum(taken) == 3, case
        scale, calm = SCALE, 0
        for is_finite, after in histories[0]:
            scale, calm = (scale, calm + 1) if is_finite else (scale / 2, 0)
            if calm == 2:
                scale, calm = scale * 2, 0
            assert after == scale, case


def overflow_of_one(ranks: Ranks, case: Case) -> tuple[list[float], bool]:
    """Each process in turn finds one infinite value: the loss scale after each, whether anything has changed."""
    scale = LossScaleSettings(initial=1024.0)
    engine = make_engine(ranks, Case(case.model, case.layout, options=(("loss_scale", scale),), precision="fp16"))
    before = {name: weight.clone() for name, weight in engine.full_weights()}
    cut = {item.name for item in declare_parameters(engine.shape) if item.partition is not None}
    here, scales = case.layout.coordinates(ranks.rank), []
    for victim in range(ranks.world):
        compute_gradient(engine, ranks, batch_of("ragged", 0))
        there = case.layout.coordinates(victim)
        # Without ZeRO all copies have the same sum, and so the same overflow.
        is_copy = case.layout.zero == 0 and (here.tensor, here.pipeline) == (there.tensor, there.pipeline)
        if ranks.rank == victim or is_copy:
            fragment = next(one for one in engine._shards.gradients() if one.name in cut and one.values.numel())
            fragment.values[-1] = math.inf
        assert not math.isfinite(engine.gradient_norm()), (ranks.rank, victim)
        engine.skip()
        state = engine.scaler_state()
        assert state is not None
        scales.append(state["scale"])
    compute_gradient(engine, ranks, batch_of("ragged", 0))
    assert math.isfinite(engine.gradient_norm()), "what was skipped is gone"
    unchanged = max(apart(dict(engine.full_weights()), before).values()) == 0.0 and engine.optimizer_steps == 0
    engine.close()
    return scales, unchanged


def test_an_overflow_on_any_process_is_one_of_all(found: list[dict[str, Any]]) -> None:
    for number, case in enumerate(OVERFLOWING):
        for one in found:
            assert one["one"][number] == ([512.0, 256.0, 128.0, 64.0], True), case
