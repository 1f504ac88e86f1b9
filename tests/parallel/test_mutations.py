"""The proof can fail: each classic fault, planted, turns the checks red that must see it; without it they are green."""

from typing import Any

import pytest

from tests.parallel.cases import SHAPES, problems, train_case
from tests.parallel.dropout import dropped_by, problems_of_dropout
from tests.parallel.launcher import run_ranks
from tests.parallel.mutations import DROPPING, HEALTHY, MUTATIONS, Mutation
from trainer.ranks import Ranks

RATE = SHAPES[DROPPING.model].dropout


def train_sick_and_healthy(ranks: Ranks) -> dict[str, Any]:
    """What this process finds with each fault, and in each case without one."""
    found: dict[str, Any] = {}
    for mutation in MUTATIONS:
        with mutation.planted():
            found[mutation.name] = (dropped_by if mutation.case == DROPPING else train_case)(ranks, mutation.case)
    return found | {str(case): train_case(ranks, case) for case in HEALTHY} | {"dropout": dropped_by(ranks, DROPPING)}


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[Any, ...]]:
    """By name, what each process found."""
    by_rank = run_ranks(4, train_sick_and_healthy, timeout=240)
    return {name: tuple(one[name] for one in by_rank) for name in by_rank[0]}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_fault_is_seen(mutation: Mutation, found: dict[str, tuple[Any, ...]]) -> None:
    if mutation.case == DROPPING:
        seen = problems_of_dropout(DROPPING.layout, RATE, found[mutation.name])
        assert seen
    else:
        seen = problems(mutation.case, found[mutation.name])
        assert set(mutation.red) <= set(seen), seen
    print(f"{mutation.name}: {', '.join(seen)}")


def test_without_a_fault_all_is_green(found: dict[str, tuple[Any, ...]]) -> None:
    for case in HEALTHY:
        assert problems(case, found[str(case)]) == [], case
    assert problems_of_dropout(DROPPING.layout, RATE, found["dropout"]) == []
