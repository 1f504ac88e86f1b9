"""Adafactor and Muon under the engine: the weights of a plain loop in each layout, and state that is saved once."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.parallel.launcher import run_ranks
from tests.trainer.engine_process import Case, gradient_of_step, layout_of, make_engine
from tests.trainer.optim.material import settings_of
from tests.trainer.ragged import CLIPPING, SHAPES, STEPS, global_batch, rate_of
from trainer.engine import TrainingEngine
from trainer.model.declaration import declare_parameters
from trainer.model.init import build_model
from trainer.optim.build import build_optimizer
from trainer.optim.kinds import kinds_of, state_declaration
from trainer.ranks import Ranks
from trainer.settings import ModelShape, OptimizerSettings
from trainer.state import WEIGHT

KINDS: dict[str, OptimizerSettings] = {
    "adafactor": settings_of(kind="adafactor", beta1=0.9),
    "muon": settings_of(kind="muon", adamw={"eps": 1e-4}),
}
CASES = {
    2: {
        "data 2, zero 0": Case("untied", layout_of(data=2, zero=0, micro_batch_size=2)),
        "data 2, zero 1": Case("untied", layout_of(data=2, zero=1, micro_batch_size=2)),
        "tensor 2": Case("untied", layout_of(tensor=2, zero=1, sequence=True)),
        "pipeline 2": Case("tied", layout_of(pipeline=2, zero=1, micro_batch_size=2)),
    },
    4: {
        "data 2, pipeline 2": Case("tied", layout_of(data=2, pipeline=2, zero=1, micro_batch_size=2)),
        "data 2, tensor 2": Case("tied", layout_of(data=2, tensor=2, zero=1, micro_batch_size=2)),
    },
}
NAMED = {name: case for cases in CASES.values() for name, case in cases.items()}


def plain_weights(shape: ModelShape, settings: OptimizerSettings) -> dict[str, Tensor]:
    """One process without an engine, accumulation or sharing."""
    model = build_model(shape, seed=3)
    optimizer = build_optimizer(dict(model.named_parameters()), declare_parameters(shape), settings)
    for step in range(STEPS):
        batch = global_batch(step)
        assert batch.mask is not None
        logits = model(torch.from_numpy(batch.inputs))[torch.from_numpy(batch.mask)]
        functional.cross_entropy(logits, torch.from_numpy(batch.targets[batch.mask])).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIPPING)
        for group in optimizer.param_groups:
            group["lr"] = rate_of(step)
        optimizer.step()
        optimizer.zero_grad()
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def steps(engine: TrainingEngine, ranks: Ranks, first: int, end: int) -> None:
    for step in range(first, end):
        gradient_of_step(engine, ranks, step)
        engine.gradient_norm()
        engine.step(rate_of(step))


def weights_of(engine: TrainingEngine) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in engine.full_weights()}


def train_and_go_on(ranks: Ranks, case: Case, kind: str) -> dict[str, Any]:
    case = replace(case, options=(("optimizer", KINDS[kind]),))
    engine = make_engine(ranks, case)
    steps(engine, ranks, 0, 3)
    held = [(piece, piece.values.clone()) for piece in engine.state_pieces(for_saving=False)]
    saved = [
        (piece.name, piece.kind, piece.tensor_rank, piece.tensor_size, piece.values.clone())
        for piece in engine.state_pieces(for_saving=True)
    ]
    gradient_of_step(engine, ranks, 7)
    engine.gradient_norm()
    engine.skip()
    steps(engine, ranks, 3, STEPS)
    found = weights_of(engine)
    engine.close()
    again = make_engine(ranks, case)
    for piece, (was, values) in zip(again.state_pieces(for_saving=False), held, strict=True):
        assert (piece.name, piece.kind, piece.local_shape) == (was.name, was.kind, was.local_shape)
        piece.values.copy_(values)
    again.finish_loading(3)
    steps(again, ranks, 3, STEPS)
    resumed = weights_of(again)
    again.close()
    return {"weights": found, "resumed": resumed, "saved": saved}


def on_each_rank(ranks: Ranks) -> dict[Any, Any]:
    return {
        (name, kind): train_and_go_on(ranks, case, kind) for name, case in CASES[ranks.world].items() for kind in KINDS
    }


@pytest.fixture(scope="module")
def by_world() -> dict[int, list[dict[Any, Any]]]:
    return {world: run_ranks(world, on_each_rank) for world in CASES}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMED)
def test_weights_are_those_of_a_plain_loop_also_past_a_skipped_step_and_a_resume(
    by_world: dict[int, list[dict[Any, Any]]], name: str, kind: str
) -> None:
    case = NAMED[name]
    expected = plain_weights(SHAPES[case.shape], KINDS[kind])
    for results in by_world[case.layout.world]:
        found = results[name, kind]
        for parameter, weight in expected.items():
            close = torch.allclose(found["weights"][parameter], weight, rtol=1e-5, atol=2e-6)
            assert close, f"{parameter}: {(found['weights'][parameter] - weight).abs().max()} apart"
            assert torch.equal(found["resumed"][parameter], found["weights"][parameter])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMED)
def test_every_value_of_the_state_is_saved_by_exactly_one_process(
    by_world: dict[int, list[dict[Any, Any]]], name: str, kind: str
) -> None:
    case = NAMED[name]
    seen: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for results in by_world[case.layout.world]:
        for parameter, what, rank, size, values in results[name, kind]["saved"]:
            seen.setdefault((parameter, what), []).append((rank, size, values.numel()))
    declarations = declare_parameters(SHAPES[case.shape])
    assert {parameter for parameter, _ in seen} == {item.name for item in declarations}
    for item in declarations:
        kinds = {what for parameter, what in seen if parameter == item.name}
        assert kinds == {WEIGHT, *kinds_of(item, KINDS[kind])}
        for what in kinds:
            stored = item if what == WEIGHT else state_declaration(item, what)
            size = case.layout.tensor if stored.partition is not None else 1
            slices = [(rank, size, math.prod(stored.local_shape(size))) for rank in range(size)]
            assert sorted(seen[item.name, what]) == slices
