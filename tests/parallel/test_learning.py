"""What training must do in every layout: learn eight sequences by heart, keep tied copies equal, drop as it should."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.parallel.cases import ROWS, SHAPES, TOKENS, VOCABULARY, Case, compute_gradient, layout_of, make_engine
from tests.parallel.dropout import Dropped, dropped_by, problems_of_dropout
from tests.parallel.launcher import run_ranks
from trainer.data.batch import Batch
from trainer.ranks import Ranks

SIZES = {
    1: [(1, 1, 1)],
    2: [(2, 1, 1), (1, 2, 1), (1, 1, 2)],
    4: [(2, 2, 1), (2, 1, 2), (1, 2, 2)],
    8: [(2, 2, 2)],
}
STEPS = 60
LEARNERS = {
    world: [
        Case("deep" if pipeline == 1 else "tied", layout_of(data, tensor, pipeline, parts=2))
        for data, tensor, pipeline in sizes
    ]
    for world, sizes in SIZES.items()
}
DROPPERS = {
    world: [
        Case("dropping", layout_of(*sizes, sequence=sequence))
        for sizes in several
        for sequence in (False, True)
        if sizes[1] > 1 or not sequence
    ]
    for world, several in SIZES.items()
}


def work(ranks: Ranks) -> dict[str, Any]:
    return {
        "learned": [learn_by_heart(ranks, case) for case in LEARNERS[ranks.world]],
        "dropped": [dropped_by(ranks, case) for case in DROPPERS[ranks.world]],
    }


@pytest.fixture(scope="module", params=SIZES, ids="{} processes".format)
def found(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """By rank."""
    return run_ranks(request.param, work, timeout=200)


def learn_by_heart(ranks: Ranks, case: Case) -> tuple[float, list[Tensor]]:
    """The mean loss of eight random sequences after some dozen steps, and the tied matrices of this process."""
    engine = make_engine(ranks, case)
    random = np.random.default_rng(0)
    rows = random.integers(0, VOCABULARY, (ROWS, TOKENS + 1))
    rows[:, 0] = np.arange(ROWS)  # else two that begin alike could not be told apart
    batch = Batch(rows[:, :-1], rows[:, 1:], np.ones((ROWS, TOKENS), dtype=np.bool_))
    for step in range(STEPS):
        compute_gradient(engine, ranks, batch)
        engine.step(0.03 * min(1.0, (step + 1) / 5))
    loss = engine.measure(batch).mean().item()
    copies = [
        parameter.detach().cpu().clone()
        for name, parameter in engine.deepspeed.module.named_parameters()
        if name.endswith("token_embedding.weight")
    ]
    engine.close()
    return loss, copies


def test_eight_sequences_are_learned_by_heart(found: list[dict[str, Any]]) -> None:
    for number, case in enumerate(LEARNERS[len(found)]):
        losses = [one["learned"][number][0] for one in found]
        print(case, losses[0])
        assert max(losses) < 0.01, case


def test_tied_copies_are_equal_bit_for_bit_after_these_steps(found: list[dict[str, Any]]) -> None:
    for number, case in enumerate(LEARNERS[len(found)]):
        by_tensor_rank: dict[int, list[Tensor]] = {}
        for rank, one in enumerate(found):
            by_tensor_rank.setdefault(case.layout.coordinates(rank).tensor, []).extend(one["learned"][number][1])
        for copies in by_tensor_rank.values():
            assert len(copies) == case.layout.data * min(case.layout.pipeline, 2), case
            assert all(torch.equal(copy, copies[0]) for copy in copies), case


def test_dropout_is_alike_where_values_are_and_independent_elsewhere(found: list[dict[str, Any]]) -> None:
    for number, case in enumerate(DROPPERS[len(found)]):
        dropped: list[Dropped] = [one["dropped"][number] for one in found]
        assert problems_of_dropout(case.layout, SHAPES[case.model].dropout, dropped) == [], case
