"""One process of the tests of the engine: trains each case through the engine and returns what came out."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.trainer.ragged import CLIPPING, OPTIMIZER, ROWS, SHAPES, STEPS, global_batch, rate_of, rows_of
from trainer.engine import TrainingEngine
from trainer.model.init import initial_value
from trainer.parallel.layout import Layout
from trainer.precision import Precision
from trainer.ranks import Ranks
from trainer.settings import PretrainSettings

SETTINGS = PretrainSettings(optimizer=OPTIMIZER, gradient_clipping=CLIPPING)


@dataclass(frozen=True)
class Case:
    """A model in a layout."""

    shape: str
    """Key of `ragged.SHAPES`."""
    layout: Layout
    options: tuple[tuple[str, Any], ...] = ()
    """Settings that differ from `SETTINGS`."""
    precision: Precision = "fp32"


def layout_of(
    data: int = 1, tensor: int = 1, pipeline: int = 1, zero: int = 1, micro_batch_size: int = ROWS, **more: Any
) -> Layout:
    return Layout(data, tensor, pipeline, zero, ROWS, min(micro_batch_size, ROWS // data), **more)


def make_engine(ranks: Ranks, case: Case) -> TrainingEngine:
    settings = SETTINGS.model_copy(update=dict(case.options))
    return TrainingEngine(
        SHAPES[case.shape], partial(initial_value, seed=3), settings, case.layout, case.precision, ranks
    )


def gradient_of_step(engine: TrainingEngine, ranks: Ranks, step: int) -> float:
    """The gradient of a global batch; returns its mean loss."""
    layout = engine.layout
    data_rank = layout.coordinates(ranks.rank).data
    share = rows_of(global_batch(step), layout.rows_of(data_rank))
    batches = [rows_of(share, piece) for piece in layout.micro_batches()]
    valid = global_batch(step).valid_tokens
    (loss,) = ranks.sum([engine.compute_gradient(batches, valid)])
    return loss / valid


def train(ranks: Ranks, case: Case) -> dict[str, Any]:
    """Losses, norms, the first step's gradient, and the weights after `STEPS`."""
    engine = make_engine(ranks, case)
    found: dict[str, Any] = {"losses": [], "norms": []}
    for step in range(STEPS):
        found["losses"].append(gradient_of_step(engine, ranks, step))
        if step == 0:
            found["gradients"] = {name: gradient.clone() for name, gradient in engine.gradients()}
        found["norms"].append(engine.gradient_norm())
        engine.step(rate_of(step))
    found["weights"] = {name: weight.clone() for name, weight in engine.full_weights()}
    measured = engine.measure(rows_of(global_batch(9), slice(0, 3)))
    found["measured"] = measured
    engine.close()
    return found


def train_all(ranks: Ranks, cases: list[Case]) -> list[dict[str, Any]]:
    return [train(ranks, case) for case in cases]
