"""20 steps of every style: the same bits in two runs on one machine, and the committed curve on any.

Another CPU or library adds up in another order, so the committed losses are compared to 1e-6 and the norms of gradients
to 1e-5, growing tenfold over the run, in which differences feed on themselves: Adam makes full steps also of the few
gradients of which nothing but rounding is left. With kernels for four other instruction sets losses part by 1e-6 and
norms by 7e-6 at most.
"""

import json

import pytest

from tests.parallel.golden import FILE, STEPS, Curves, curves
from tests.parallel.launcher import run_ranks
from tests.trainer.model.styles import STYLES


@pytest.fixture(scope="module")
def found() -> tuple[Curves, Curves]:
    first, second = (run_ranks(1, curves)[0] for _ in range(2))
    return first, second


def test_two_runs_agree_bit_for_bit(found: tuple[Curves, Curves]) -> None:
    assert found[0] == found[1]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("quantity", "tolerance"), [("losses", 1e-6), ("norms", 1e-5)])
def test_the_curve_is_the_committed_one(
    style: str, quantity: str, tolerance: float, found: tuple[Curves, Curves]
) -> None:
    committed = [float.fromhex(value) for value in json.loads(FILE.read_text())[style][quantity]]
    assert len(committed) == STEPS
    assert quantity == "norms" or committed[-1] < committed[0] - 0.5, "a model that learns nothing proves little"
    now = [float.fromhex(value) for value in found[0][style][quantity]]
    for step, (one, two) in enumerate(zip(now, committed, strict=True)):
        assert one == pytest.approx(two, rel=tolerance * 10 ** (step / STEPS)), step
