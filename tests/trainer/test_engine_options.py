"""What flows through a layout: documents, prefixes, rows of other lengths than before; and what cannot be followed."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from tests.parallel.launcher import run_ranks
from tests.trainer.engine_process import Case, gradient_of_step, layout_of, make_engine
from tests.trainer.ragged import ROWS, global_batch, plain_losses, plain_training, rate_of, rows_of
from tests.trainer.ragged import SHAPES as RAGGED
from trainer.data.batch import Batch
from trainer.parallel.layout import Layout
from trainer.ranks import Ranks
from trainer.settings.precision import LossScaleSettings

ALONE = layout_of(micro_batch_size=4)
COPIES = layout_of(data=2, zero=1, micro_batch_size=2)
COPIES_3 = layout_of(data=2, zero=3, micro_batch_size=2)
TENSOR = layout_of(tensor=2, zero=2, micro_batch_size=4)
SEQUENCE = layout_of(tensor=2, zero=1, micro_batch_size=4, sequence=True)
STAGES = layout_of(pipeline=2, zero=1, micro_batch_size=2)
STAGES_0 = layout_of(pipeline=2, zero=0, micro_batch_size=2)
SHARED = [COPIES, COPIES_3, TENSOR, SEQUENCE, STAGES, STAGES_0]


def compute(ranks: Ranks) -> list[dict[str, Any]]:
    """All layouts, from one launch; a message whose gradient torch would look for is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="c10d::.* an autograd kernel was not registered")
        return [flow(ranks, layout) for layout in SHARED]


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = run_ranks(2, compute, timeout=200)[0]
    return results


def test_documents_prefixes_and_lengths_flow_through_every_layout(found: list[dict[str, Any]]) -> None:
    first = found[0]
    for layout, result in zip(SHARED[1:], found[1:], strict=True):
        assert result["losses"] == pytest.approx(first["losses"], rel=1e-6), layout
        assert result["norms"] == pytest.approx(first["norms"], rel=1e-5), layout
        for one, two in zip(result["measured"], first["measured"], strict=True):
            assert torch.allclose(one, two, rtol=1e-5, atol=1e-5), layout


def flow(ranks: Ranks, layout: Layout) -> dict[str, Any]:
    """Steps whose micro-batches have documents, prefixes, or other lengths than the one before."""
    engine = make_engine(ranks, Case("tied", layout))
    data_rank = layout.coordinates(ranks.rank).data
    found: dict[str, Any] = {"losses": [], "norms": [], "measured": []}
    for step, kind in enumerate(("plain", "documents", "prefix", "plain", "short", "growing")):
        batch = kind_of_batch(kind, step)
        share = part_of(batch, layout.rows_of(data_rank, len(batch.inputs)))
        pieces = [part_of(share, piece) for piece in layout.micro_batches(len(batch.inputs))]
        if kind == "growing":
            pieces = [shortened(piece, 4 + 2 * number) for number, piece in enumerate(pieces)]
        counts = layout.is_counted(ranks.rank)
        (valid,) = ranks.sum([sum(piece.valid_tokens for piece in pieces) if counts else 0])
        (loss,) = ranks.sum([engine.compute_gradient(pieces, int(valid))])
        if kind != "growing":  # its lengths follow the micro-batches, so it is another batch in each layout
            found["losses"].append(loss / valid)
            found["norms"].append(engine.gradient_norm())
            found["measured"].append(engine.measure(part_of(batch, slice(0, 2 + step % 2))))
        assert math.isfinite(engine.gradient_norm())
        engine.step(rate_of(step)) if kind != "growing" else engine.skip()
    engine.close()
    return found


def kind_of_batch(kind: str, step: int) -> Batch:
    batch = global_batch(step)
    if kind == "documents":
        segments = np.sort(np.random.default_rng(step).integers(0, 3, batch.inputs.shape, dtype=np.int32), axis=1)
        return Batch(batch.inputs, batch.targets, batch.mask, segments)
    if kind == "prefix":
        prefix = np.random.default_rng(step).integers(0, 5, ROWS, dtype=np.int32)
        return Batch(batch.inputs, batch.targets, batch.mask, prefix=prefix)
    return shortened(batch, 6) if kind == "short" else batch


def part_of(batch: Batch, rows: slice) -> Batch:
    optional = (batch.mask, batch.segments, batch.prefix)
    mask, segments, prefix = (None if array is None else array[rows] for array in optional)
    return Batch(batch.inputs[rows], batch.targets[rows], mask, segments, prefix)  # type: ignore[arg-type]


def shortened(batch: Batch, length: int) -> Batch:
    assert batch.mask is not None
    return Batch(batch.inputs[:, :length], batch.targets[:, :length], batch.mask[:, :length])


def test_a_gradient_that_is_not_finite_cannot_be_followed() -> None:
    assert run_ranks(1, follow_infinity) == [True]


def follow_infinity(ranks: Ranks) -> bool:
    scale = LossScaleSettings(initial=2.0**100)
    engine = make_engine(ranks, Case("tied", ALONE, (("loss_scale", scale),), "fp16"))
    gradient_of_step(engine, ranks, 0)
    with pytest.raises(ValueError, match="it can be skipped, not followed"):
        engine.step(rate_of(0))
    return True


def test_measured_losses_are_those_of_the_plain_model() -> None:
    model = plain_training(RAGGED["tied"]).model
    batch = rows_of(global_batch(3), slice(0, 4))
    losses = plain_losses(model, batch)
    assert batch.mask is not None
    assert losses.sum() > 0
    assert losses[~torch.from_numpy(batch.mask)].sum() == 0
