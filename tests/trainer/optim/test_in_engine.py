"""Adafactor and Muon under the engine: the weights of a plain loop in each layout, and state that is saved once."""

import math
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
from trainer.optim.kinds import state_declaration
from trainer.ranks import Ranks
from trainer.settings import OptimizerSettings
from trainer.state import WEIGHT

KINDS: dict[str, OptimizerSettings] = {
    "adafactor": settings_of(kind="adafactor", beta1=0.9),
    "muon": settings_of(kind="muon", adamw={"eps": 1e-4}),
}
LAYOUTS = {
    "data 2, zero 0": layout_of(data=2, zero=0, micro_batch_size=2),
    "data 2, zero 1": layout_of(data=2, zero=1, micro_batch_size=2),
    "tensor 2": layout_of(tensor=2, zero=1, sequence=True),
}
STYLE = "untied"


def plain_weights(settings: OptimizerSettings) -> dict[str, Tensor]:
    """One process without an engine, accumulation or sharing."""
    model = build_model(SHAPES[STYLE], seed=3)
    optimizer = build_optimizer(dict(model.named_parameters()), declare_parameters(SHAPES[STYLE]), settings)
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


def train_and_go_on(ranks: Ranks, layout: str, kind: str) -> dict[str, Any]:
    case = Case(STYLE, LAYOUTS[layout], (("optimizer", KINDS[kind]),))
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
    return {(layout, kind): train_and_go_on(ranks, layout, kind) for layout in LAYOUTS for kind in KINDS}


@pytest.fixture(scope="module")
def on_two() -> list[dict[Any, Any]]:
    return run_ranks(2, on_each_rank)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_those_of_a_plain_loop_also_past_a_skipped_step_and_a_resume(
    on_two: list[dict[Any, Any]], layout: str, kind: str
) -> None:
    expected = plain_weights(KINDS[kind])
    for results in on_two:
        found = results[layout, kind]
        for name, weight in expected.items():
            close = torch.allclose(found["weights"][name], weight, rtol=1e-5, atol=2e-6)
            assert close, f"{name}: {(found['weights'][name] - weight).abs().max()} apart"
            assert torch.equal(found["resumed"][name], found["weights"][name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_value_of_the_state_is_saved_by_exactly_one_process(
    on_two: list[dict[Any, Any]], layout: str, kind: str
) -> None:
    seen: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for results in on_two:
        for name, what, rank, size, values in results[layout, kind]["saved"]:
            seen.setdefault((name, what), []).append((rank, size, values.numel()))
    for item in declare_parameters(SHAPES[STYLE]):
        kinds = {what for name, what in seen if name == item.name}
        expected = {"momentum"} if kind == "muon" and item.role == "matrix" else {"exp_avg", "exp_avg_sq"}
        if kind == "adafactor":
            expected = {"exp_avg", "rows", "columns"} if len(item.shape) > 1 else {"exp_avg", "exp_avg_sq"}
        assert kinds == {WEIGHT, *expected}
        for what in kinds:
            stored = item if what == WEIGHT else state_declaration(item, what)
            size = LAYOUTS[layout].tensor if stored.partition is not None else 1
            assert sorted(seen[item.name, what]) == [
                (rank, size, math.prod(stored.local_shape(size))) for rank in range(size)
            ]
