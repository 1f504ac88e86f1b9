"""What a step, a skipped step and a checkpoint do to the state of a run, in each layout."""

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from tests.parallel.launcher import run_ranks
from tests.trainer.engine_process import Case, gradient_of_step, layout_of, make_engine
from tests.trainer.ragged import SHAPES, rate_of
from trainer.engine import TrainingEngine
from trainer.model.declaration import declare_parameters
from trainer.ranks import Ranks
from trainer.state import StatePiece

OFFLOAD = (("offload_optimizer", True),)
LAYOUTS = [
    layout_of(data=4, zero=1, micro_batch_size=1),
    layout_of(data=2, tensor=2, zero=2, micro_batch_size=2),
    layout_of(data=4, zero=3, micro_batch_size=1),
    layout_of(data=2, tensor=2, zero=3, micro_batch_size=2),
    layout_of(data=2, pipeline=2, zero=0, micro_batch_size=2),
    layout_of(tensor=2, pipeline=2, zero=1, micro_batch_size=4),
]
CASES = [*(Case("tied", layout) for layout in LAYOUTS), Case("tied", LAYOUTS[1], OFFLOAD), Case("gpt2", LAYOUTS[5])]


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    by_rank = run_ranks(4, live_through, CASES, timeout=200)
    for results in by_rank[1:]:
        for result, of_first in zip(results, by_rank[0], strict=True):
            assert result["problems"] == of_first["problems"]
    first: list[dict[str, Any]] = by_rank[0]
    return first


@pytest.mark.parametrize("number", range(len(CASES)), ids=[str(case) for case in CASES])
def test_every_value_is_saved_once_and_taken_up_again(number: int, found: list[dict[str, Any]]) -> None:
    assert found[number]["problems"] == []


def test_the_state_is_the_same_in_all_layouts(found: list[dict[str, Any]]) -> None:
    tied = [result["state"] for case, result in zip(CASES, found, strict=True) if case.shape == "tied"]
    for one, other in pairwise(tied):
        assert one.keys() == other.keys()
        for key, values in one.items():
            assert torch.allclose(values, other[key], rtol=1e-5, atol=1e-6), key


def live_through(ranks: Ranks, cases: list[Case]) -> list[dict[str, Any]]:
    """Each case, and then its state in the layout of the next."""
    results = []
    for case, following in zip(cases, [*cases[1:], cases[0]], strict=True):
        other = following if following.shape == case.shape else case
        results.append(live_through_one(ranks, case, other))
    return results


def live_through_one(ranks: Ranks, case: Case, other: Case) -> dict[str, Any]:
    problems: list[str] = []
    engine = make_engine(ranks, case)
    for step in range(2):
        take_step(engine, ranks, step)
    state = whole_state(engine, case, problems)

    gradient_of_step(engine, ranks, 7)
    engine.skip()
    expect_same(whole_state(engine, case, problems), state, "after a skipped step", problems)
    expect_same(dict(engine.full_weights()), weights_of(state), "weights after a skipped step", problems)
    if engine.optimizer_steps != 2:
        problems.append(f"{engine.optimizer_steps} optimizer steps after 2 and a skipped one")

    losses = [take_step(engine, ranks, step) for step in (2, 3)]
    later = whole_state(engine, case, problems)
    if copies_differ(engine):
        problems.append("the copies of the tied matrix differ")
    engine.close()

    for again, exactly in ((case, True), (other, False)):
        engine = make_engine(ranks, again)
        fill(engine, again, state)
        engine.finish_loading(2)
        expect_same(whole_state(engine, again, problems), state, f"loaded into {again.layout}", problems)
        expect_same(dict(engine.full_weights()), weights_of(state), f"weights loaded into {again.layout}", problems)
        resumed = [take_step(engine, ranks, step) for step in (2, 3)]
        if exactly:
            expect_same(whole_state(engine, again, problems), later, "two steps after resuming", problems)
            if resumed != losses:
                problems.append(f"losses after resuming are {resumed}, were {losses}")
        elif not all(math.isclose(one, two, rel_tol=1e-6) for one, two in zip(resumed, losses, strict=True)):
            problems.append(f"losses in {again.layout} are {resumed}, were {losses}")
        engine.close()
    return {"problems": problems, "state": state}


def take_step(engine: TrainingEngine, ranks: Ranks, step: int) -> float:
    loss = gradient_of_step(engine, ranks, step)
    engine.step(rate_of(step))
    return loss


State = dict[tuple[str, str], Tensor]


def whole_state(engine: TrainingEngine, case: Case, problems: list[str]) -> State:
    """Full tensors from the pieces that all processes would save; each value must be among them once."""
    mine = [(piece, piece.values.cpu().clone()) for piece in engine.state_pieces(for_saving=True)]
    everyones: list[Any] = [None] * engine.layout.world
    distributed.all_gather_object(everyones, [(strip(piece), values) for piece, values in mine])
    slices: dict[tuple[str, str, int], Tensor] = {}
    counts: Counter[tuple[str, str, int]] = Counter()
    for description, values in (item for items in everyones for item in items):
        name, kind, shape, tensor_rank, start = description
        key = (name, kind, tensor_rank)
        target = slices.setdefault(key, torch.full((math.prod(shape),), math.nan)).view(-1)
        if not target[start : start + len(values)].isnan().all():
            problems.append(f"{key} from {start} is saved twice")
        target[start : start + len(values)] = values
        counts[key] += len(values)
    state: State = {}
    for declaration in declare_parameters(SHAPES[case.shape]):
        size = engine.layout.tensor if declaration.partition is not None else 1
        shape = declaration.local_shape(size)
        for kind in ("weight", "exp_avg", "exp_avg_sq"):
            pieces = [slices.pop((declaration.name, kind, rank)).view(shape) for rank in range(size)]
            state[declaration.name, kind] = declaration.assemble(pieces)
            if state[declaration.name, kind].isnan().any():
                problems.append(f"{declaration.name}'s {kind} is not saved whole")
    if slices:
        problems.append(f"saved beside the state: {sorted(slices)}")
    return state


def strip(piece: StatePiece) -> tuple[str, str, tuple[int, ...], int, int]:
    return piece.name, piece.kind, piece.local_shape, piece.tensor_rank, piece.start


def fill(engine: TrainingEngine, case: Case, state: State) -> None:
    declarations = {item.name: item for item in declare_parameters(SHAPES[case.shape])}
    for piece in engine.state_pieces(for_saving=False):
        full = state[piece.name, piece.kind]
        local = declarations[piece.name].local(full, piece.tensor_rank, piece.tensor_size)
        assert tuple(local.shape) == piece.local_shape
        piece.values.copy_(local.reshape(-1)[piece.start : piece.stop])


def weights_of(state: State) -> dict[str, Tensor]:
    return {name: values for (name, kind), values in state.items() if kind == "weight"}


def expect_same(now: dict[Any, Tensor], before: dict[Any, Tensor], what: str, problems: list[str]) -> None:
    changed = [key for key in before if not torch.equal(now[key], before[key])]
    if changed or now.keys() != before.keys():
        problems.append(f"{what}: {changed} changed")


def copies_differ(engine: TrainingEngine) -> bool:
    """Whether the last stage's copy of the tied matrix is another than the first stage's."""
    copies = [
        parameter.detach().cpu()
        for name, parameter in engine.deepspeed.module.named_parameters()
        if name.endswith("token_embedding.weight") and parameter.numel()
    ]
    place = engine.layout.coordinates(engine.ranks.rank)
    held: list[Any] = [None] * engine.layout.world
    distributed.all_gather_object(held, (place.tensor, copies))
    by_tensor_rank: dict[int, list[Tensor]] = {}
    for tensor_rank, tensors in held:
        by_tensor_rank.setdefault(tensor_rank, []).extend(tensors)
    return any(not torch.equal(one, two) for tensors in by_tensor_rank.values() for one, two in pairwise(tensors))
