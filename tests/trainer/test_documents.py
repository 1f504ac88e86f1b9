"""Rows of several documents and rows with a prefix give the same gradient in every layout as in one plain process."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.parallel.launcher import run_ranks
from tests.trainer.engine_process import Case, layout_of, make_engine
from tests.trainer.ragged import ROWS, SHAPES, global_batch
from trainer.data.batch import Batch
from trainer.data.objective import with_prefix
from trainer.model.gpt import loss_sum
from trainer.model.init import build_model
from trainer.parallel.whole_model import to_device
from trainer.ranks import Ranks

CASES = [
    Case("tied", layout_of(data=2, micro_batch_size=2)),
    Case("gpt2", layout_of(tensor=2, micro_batch_size=3, sequence=True)),
    Case("untied", layout_of(data=2, zero=3)),
    Case("gpt2", layout_of(pipeline=2, micro_batch_size=2)),
    Case("tied", layout_of(pipeline=2, micro_batch_size=3), (("activation_checkpointing", "blocks"),)),
]


def batch_of(kind: str) -> Batch:
    batch = global_batch(0)
    if kind == "prefix":
        return with_prefix(batch, np.array([3, 1, 8, 2, 5, 4, 6, 1], np.int32))
    breaks = np.random.default_rng(1).integers(0, 2, size=batch.inputs.shape)
    return replace(batch, segments=np.cumsum(breaks, axis=1, dtype=np.int32))


def rows_of(batch: Batch, rows: slice) -> Batch:
    arrays = (batch.inputs, batch.targets, batch.mask, batch.segments, batch.prefix)
    inputs, targets, *rest = (None if array is None else array[rows] for array in arrays)
    assert inputs is not None
    assert targets is not None
    return Batch(inputs, targets, *rest)  # type: ignore[arg-type]


def gradients(ranks: Ranks, kinds: tuple[str, ...]) -> list[dict[str, Tensor]]:
    found = []
    for case in CASES:
        engine = make_engine(ranks, case)
        for kind in kinds:
            whole = batch_of(kind)
            share = rows_of(whole, case.layout.rows_of(case.layout.coordinates(ranks.rank).data))
            engine.compute_gradient(
                [rows_of(share, piece) for piece in case.layout.micro_batches()], whole.valid_tokens
            )
            found.append({name: gradient.clone() for name, gradient in engine.gradients()})
            engine.skip()
        engine.close()
    return found


def plain_gradient(shape: str, kind: str) -> dict[str, Tensor]:
    model, batch = build_model(SHAPES[shape], seed=3), batch_of(kind)
    inputs, targets, mask, context = to_device(batch, torch.device("cpu"))
    assert mask is not None
    loss = loss_sum(model(inputs, context=context)[mask], targets[mask]) / batch.valid_tokens
    names = dict(model.named_parameters())
    return dict(zip(names, torch.autograd.grad(loss, list(names.values())), strict=True))


def test_documents_and_prefixes_do_not_depend_on_the_layout() -> None:
    kinds = ("documents", "prefix")
    for results in run_ranks(2, gradients, kinds):
        for (case, kind), result in zip(((case, kind) for case in CASES for kind in kinds), results, strict=True):
            expected = plain_gradient(case.shape, kind)
            assert result.keys() == expected.keys()
            for name, gradient in expected.items():
                assert torch.allclose(result[name], gradient, rtol=1e-5, atol=1e-7), (case, kind, name)


@pytest.mark.parametrize("kind", ["documents", "prefix"])
def test_they_matter(kind: str) -> None:
    batch = batch_of(kind)
    bare = Batch(batch.inputs, batch.targets, batch.mask)
    model = build_model(SHAPES["tied"], seed=3)
    inputs, _, _, context = to_device(batch, torch.device("cpu"))
    assert len(bare.inputs) == ROWS
    assert not torch.allclose(model(inputs, context=context), model(inputs))
