"""What changes how a step is computed, and must not change what it computes: precision, recomputation, what flows."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.parallel.launcher import run_ranks
from tests.trainer.engine_process import Case, gradient_of_step, layout_of, make_engine, train
from tests.trainer.ragged import ROWS, global_batch, plain_losses, plain_training, rate_of, rows_of
from tests.trainer.ragged import SHAPES as RAGGED
from trainer.data.batch import Batch
from trainer.engine import TrainingEngine
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

CHECKPOINTED = ("activation_checkpointing", "blocks")
Z_LOSS = ("z_loss", 0.01)


def compute(ranks: Ranks) -> dict[str, Any]:
    """All that the tests below look at, from one launch."""
    return {
        "checkpointed": [train(ranks, Case("gpt2", layout, (CHECKPOINTED,))) for layout in SHARED],
        "z_loss": [train(ranks, Case("tied", layout, (Z_LOSS,))) for layout in (COPIES, SEQUENCE, STAGES)],
        "bf16": [train(ranks, Case("untied", layout, (), "bf16")) for layout in SHARED],
        "fp16": [train(ranks, Case("untied", layout, (), "fp16")) for layout in (COPIES_3, TENSOR, STAGES_0)],
        "overflow": [overflow(ranks, layout) for layout in SHARED],
        "flow": [flow(ranks, layout) for layout in SHARED],
    }


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    results: dict[str, Any] = run_ranks(2, compute, timeout=200)[0]
    return results


@pytest.mark.parametrize("number", range(len(SHARED)), ids=[str(layout) for layout in SHARED])
def test_recomputed_activations_change_nothing(number: int, found: dict[str, Any]) -> None:
    expected = plain_training(RAGGED["gpt2"])
    result = found["checkpointed"][number]
    assert result["losses"] == pytest.approx(expected.losses, rel=1e-6)
    for name, gradient in expected.gradients.items():
        assert torch.allclose(result["gradients"][name], gradient, rtol=1e-5, atol=1e-6), name


def test_the_z_loss_is_trained_on_and_not_measured(found: dict[str, Any]) -> None:
    plain = plain_training(RAGGED["tied"])
    first = found["z_loss"][0]
    assert min(now - before for now, before in zip(first["losses"], plain.losses, strict=True)) > 0.05
    for result in found["z_loss"]:
        assert result["losses"] == pytest.approx(first["losses"], rel=1e-6)
        assert result["norms"] == pytest.approx(first["norms"], rel=1e-5)
        assert torch.allclose(result["measured"], first["measured"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precisions_learn_the_same_in_every_layout(precision: str, found: dict[str, Any]) -> None:
    plain = plain_training(RAGGED["untied"])
    for result in found[precision]:
        assert result["losses"] != plain.losses, "computed in fp32"
        assert result["losses"] == pytest.approx(plain.losses, rel=0.02)
        assert result["norms"] == pytest.approx(plain.norms, rel=0.05)
        for name, weight in plain.weights.items():
            assert result["weights"][name].dtype == torch.float32
            assert torch.allclose(result["weights"][name], weight, atol=0.03), name


def test_an_overflow_halves_the_loss_scale_and_changes_no_weight(found: dict[str, Any]) -> None:
    for layout, result in zip(SHARED, found["overflow"], strict=True):
        finite = [math.isfinite(norm) for norm in result["norms"]]
        assert not finite[0], layout
        assert sum(finite) == result["optimizer_steps"] == 3, layout
        assert result["unchanged"], layout
        scale, calm = INITIAL_SCALE, 0
        for taken in finite:
            scale, calm = (scale, calm + 1) if taken else (scale / 2, 0)
            if calm == GROWTH_STEPS:
                scale, calm = scale * 2, 0
        assert result["final"] == {"scale": scale, "calm_steps": calm}, layout


INITIAL_SCALE, GROWTH_STEPS = 2.0**36, 2


def overflow(ranks: Ranks, layout: Layout) -> dict[str, Any]:
    """Begins with a loss scale that is far too large; then three steps."""
    scale = LossScaleSettings(initial=INITIAL_SCALE, growth_steps=GROWTH_STEPS)
    engine = make_engine(ranks, Case("untied", layout, (("loss_scale", scale),), "fp16"))
    before = weights_of(engine)
    found: dict[str, Any] = {"norms": []}
    while engine.optimizer_steps < 3:
        gradient_of_step(engine, ranks, 0)
        found["norms"].append(engine.gradient_norm())
        if math.isfinite(found["norms"][-1]):
            if engine.optimizer_steps == 0:
                now = weights_of(engine)
                found["unchanged"] = all(torch.equal(now[name], before[name]) for name in before)
            engine.step(rate_of(0))
        else:
            assert engine.can_lower_loss_scale
            engine.skip()
    found |= {"final": engine.scaler_state(), "optimizer_steps": engine.optimizer_steps}
    engine.close()
    return found


def test_documents_prefixes_and_lengths_flow_through_every_layout(found: dict[str, Any]) -> None:
    first = found["flow"][0]
    for layout, result in zip(SHARED[1:], found["flow"][1:], strict=True):
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


def weights_of(engine: TrainingEngine) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in engine.full_weights()}


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
