"""Every layout computes what one process does: gradients, norms, weights, losses, parameter by parameter.

Against `reference`: an independent model and loop in fp64. The whole product of layouts, ZeRO stages, tied and untied
embeddings, and accumulation; masks are ragged and clipping is active in all. The other options in pairs. What is
compared and how near it must be: `cases.LIMITS`.
"""

from functools import cache
from itertools import product

import pytest

from tests.parallel.cases import (
    CLIPPING,
    LIMITS,
    MATRIX_OPTIMIZERS,
    ROWS,
    Case,
    Trained,
    differences,
    layout_of,
    problems,
    reference_of,
    train_cases,
    worst,
)
from tests.parallel.launcher import run_ranks
from tests.parallel.pairs import case_of, pairs_of, pairwise, possible_pairs
from trainer.parallel.layout import Layout

SIZES = ((1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 1), (2, 1, 2), (1, 2, 2), (2, 2, 2))
"""(copies, tensor ranks, stages)"""
PRODUCT = [
    Case(model, layout_of(*sizes, zero, parts))
    for sizes, model, zero, parts in product(SIZES, ("tied", "untied"), (0, 1, 2, 3), (1, 4))
    if sizes[2] == 1 or zero < 2
]
PAIRS = [case_of(chosen) for chosen in pairwise()]
MORE = [
    Case("deep", layout_of(1, 1, 4, parts=4)),
    Case("deep", layout_of(2, 1, 4, zero=0, parts=4)),
    Case("tied", layout_of(1, 4, 1, parts=2, sequence=True)),
    Case("untied gpt2", layout_of(4, 2, 1, zero=3)),
    Case("tied", Layout(2, 1, 1, 2, ROWS, 3)),
    Case("untied", Layout(1, 2, 2, 1, ROWS, 3)),
]
"""More stages, tensor ranks and copies than two; micro-batches of different sizes."""
MATRICES = [
    Case(model, layout_of(*sizes, zero, 2, sequence=sequence), options=(("optimizer", optimizer),))
    for optimizer in MATRIX_OPTIMIZERS.values()
    for model, sizes, zero, sequence in (
        ("untied", (1, 1, 1), 0, False),
        ("untied", (2, 1, 1), 0, False),
        ("untied", (2, 1, 1), 1, False),
        ("untied", (1, 2, 1), 1, True),
        ("deep", (1, 1, 2), 1, False),
        ("untied", (2, 2, 1), 1, False),
        ("deep", (2, 1, 2), 1, False),
        ("deep", (2, 2, 2), 1, False),
        ("untied", (2, 2, 2), 0, True),
    )
]
"""Optimizers that look at whole matrices, shared out and not. No GPT-2: the true gradient of its keys' biases is zero
(all logits of a query move alike, which the softmax does not see), and Adafactor, which has next to no epsilon, makes
full steps of the rounding that is left."""
CASES = list(dict.fromkeys([*PRODUCT, *PAIRS, *MORE, *MATRICES]))


@cache
def trained(sizes: tuple[int, int, int], is_divided: bool) -> dict[Case, list[Trained]]:
    """All cases of a layout, from one launch; what each process found. `is_divided`: ZeRO 2 and 3, which are slow."""
    cases = [case for case in CASES if launch_of(case) == (sizes, is_divided)]
    by_rank = run_ranks(cases[0].layout.world, train_cases, cases, timeout=240)
    return dict(zip(cases, zip(*by_rank, strict=True), strict=True))  # type: ignore[arg-type]


def launch_of(case: Case) -> tuple[tuple[int, int, int], bool]:
    layout = case.layout
    return (layout.data, layout.tensor, layout.pipeline), layout.zero >= 2


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_computes_what_one_process_does(case: Case) -> None:
    found = trained(*launch_of(case))[case]
    assert problems(case, found) == [], differences(case, found[0])
    assert min(reference_of(case).norms) > CLIPPING, "clipping must be active"


def test_the_cases_are_all_that_were_promised() -> None:
    print(f"{len(PRODUCT)} cases of the product, {len(PAIRS)} in pairs, {len(CASES)} in all")
    assert len(PRODUCT) == 4 * 16 + 4 * 8
    assert possible_pairs() <= set().union(*(pairs_of(chosen) for chosen in pairwise()))
    largest = worst(differences(case, trained(*launch_of(case))[case][0]) for case in CASES)
    print("largest differences:", {name: f"{value:.1e}" for name, value in largest.items()})
    assert all(largest[name] <= limit for name, limit in LIMITS.items())
