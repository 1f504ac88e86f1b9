"""The proof that the layout does not change the maths.

Ragged masks (one row without a valid token), active clipping, weight decay, both styles, tied and untied: through
DeepSpeed with copies, tensor-parallel parts, stages and ZeRO 0 to 3, with and without accumulation, the losses,
gradient norms before clipping, all gradients of the first step and all weights after 5 steps are those of a plain
PyTorch loop on one process.
"""

from itertools import product
from typing import Any

import pytest
import torch

from tests.parallel.launcher import run_ranks
from tests.trainer.engine_process import Case, layout_of, train_all
from tests.trainer.ragged import SHAPES, Reference, global_batch, plain_losses, plain_training, rows_of

ZERO = (0, 1, 2, 3)
CASES = {
    1: [Case(name, layout_of(zero=zero)) for name, zero in product(SHAPES, ZERO)],
    2: [
        *(
            Case(name, layout_of(data=2, zero=zero, micro_batch_size=size))
            for name, zero, size in product(SHAPES, ZERO, (4, 1))
        ),
        Case("tied", layout_of(data=2, micro_batch_size=3)),
        *(
            Case("tied", layout_of(data=2, zero=zero, micro_batch_size=size), (("offload_optimizer", True),))
            for zero, size in ((1, 1), (2, 1), (3, 1), (2, 4))
        ),
        *(Case(name, layout_of(tensor=2, zero=zero, micro_batch_size=3)) for name, zero in product(SHAPES, ZERO)),
        *(Case(name, layout_of(tensor=2, zero=1, sequence=True)) for name in SHAPES),
        *(
            Case(name, layout_of(pipeline=2, zero=zero, micro_batch_size=size))
            for name, zero, size in product(SHAPES, (0, 1), (8, 2))
        ),
        Case("tied", layout_of(pipeline=2, micro_batch_size=3)),
    ],
    8: [
        *(
            Case(name, layout_of(data=2, tensor=2, pipeline=2, zero=zero, micro_batch_size=size))
            for name, zero, size in product(("tied", "untied"), (0, 1), (4, 1))
        ),
        *(
            Case("gpt2", layout_of(data=2, tensor=2, pipeline=2, micro_batch_size=2, sequence=sequence))
            for sequence in (False, True)
        ),
        Case("tied", layout_of(data=4, tensor=2, zero=2)),
        Case("untied", layout_of(data=2, pipeline=4, micro_batch_size=1)),
    ],
}


@pytest.fixture(scope="module")
def reference() -> dict[str, Reference]:
    return {name: plain_training(shape) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("world", CASES)
def test_every_layout_computes_what_one_plain_process_does(world: int, reference: dict[str, Reference]) -> None:
    by_rank = run_ranks(world, train_all, CASES[world])
    for rank, results in enumerate(by_rank):
        for case, result, of_first in zip(CASES[world], results, by_rank[0], strict=True):
            check(case, result, reference[case.shape])
            for name, weight in result["weights"].items():
                assert torch.equal(weight, of_first["weights"][name]), (rank, case, name)


def check(case: Case, result: dict[str, Any], expected: Reference) -> None:
    assert result["losses"] == pytest.approx(expected.losses, rel=1e-6), case
    assert result["norms"] == pytest.approx(expected.norms, rel=2e-6), case
    assert min(result["norms"]) > 0.3, "clipping must be active"
    for kind in ("gradients", "weights"):
        wanted = getattr(expected, kind)
        assert result[kind].keys() == wanted.keys(), case
        for name, value in wanted.items():
            close = torch.allclose(result[kind][name], value, rtol=1e-5, atol=1e-6)
            assert close, f"{kind} of {name} with {case}: {(result[kind][name] - value).abs().max()} apart"
    losses = plain_losses(expected.model, rows_of(global_batch(9), slice(0, 3)))
    torch.testing.assert_close(result["measured"], losses, rtol=1e-5, atol=1e-5)
