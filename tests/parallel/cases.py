"""The proofs' cases: models, ragged batches, layouts, one training of each through the engine, and the comparison.

A difference is relative: |a - b| / |b| of a tensor, in the Euclidean norm. Single values that are nearly zero have no
digits to compare (where only a rounding error is left of a sum, any two orders of it differ), a tensor as a whole has.

The initial weights are those of the run's own rule, but larger, and with norms and biases that are not all alike:
cutting equal values wrongly would not be seen. Larger still, and attention's sums would cancel so far that one plain
fp32 process is more than 1e-6 from the truth.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.parallel.reference import Curve, Weights, token_losses, train
from trainer.data.batch import Batch
from trainer.engine import TrainingEngine
from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.model.init import initial_value
from trainer.optim.build import build_optimizer
from trainer.parallel.layout import Layout
from trainer.precision import Precision
from trainer.ranks import Ranks
from trainer.settings import ModelSettings, ModelShape, PretrainSettings
from trainer.settings.optimizer import AdafactorSettings, AdamWSettings, MuonAdamWSettings, MuonSettings

ROWS, TOKENS, VOCABULARY, STEPS = 8, 8, 31, 5
COMPARED_GRADIENTS = 2
LIMITS = {
    "loss": 1e-6,
    "gradient": 1e-6,
    "gradient of norms": 1e-6,
    "harder gradient": 5e-6,
    "norm": 1e-6,
    "weight": 1e-6,
    "weight by Muon": 1e-6,
    "measured": 1e-6,
}
"""Largest relative differences.

Told apart is what fp32 itself is far from the truth in, so that a look at the figures says which rounding it is.
Gradients of norms, of their gains and biases, are sums over all tokens of terms that partly cancel: one plain fp32
process is up to 1.0e-6 off. Muon's iteration makes rounding larger (7e-7 on one process). Harder gradients have the
only wider limit: those of the gains of queries' and keys' norms, whose terms nearly cancel (2e-6 on one process), and
of the second step, whose weights are apart already.
"""
HARDER = ("query_norm", "key_norm")
VALID = (
    (8, 1, 0, 3, 8, 2, 7, 1),  # a row without a target that counts: a micro-batch of one row
    (5, 8, 2, 7, 0, 0, 0, 0),  # the second of two copies, and the last micro-batches of one
    (0, 0, 8, 1, 3, 0, 0, 6),  # the first micro-batch
    (0, 0, 0, 0, 0, 1, 0, 0),  # all but one token of the batch
    (8, 8, 8, 8, 8, 8, 8, 8),
)
"""Targets that count of each row, by step."""
RAMP = (4, 4, 8, 8, 8)
"""Rows of each step where the batch grows."""
CLIPPING = 0.3
# Adam divides by the root of the second moment: a small epsilon makes a full step of a gradient that is mere rounding.
OPTIMIZER = AdamWSettings(lr=0.01, weight_decay=0.1, eps=1e-3)
MATRIX_OPTIMIZERS: dict[str, AdafactorSettings | MuonSettings] = {
    "adafactor": AdafactorSettings(kind="adafactor", lr=0.01, weight_decay=0.1, beta1=0.9),
    "muon": MuonSettings(kind="muon", lr=0.01, weight_decay=0.1, adamw=MuonAdamWSettings(eps=1e-3)),
}
"""Those that look at whole matrices. Their reference is themselves, on whole fp64 tensors and on one process."""
RATES = tuple(OPTIMIZER.lr / (step + 1) for step in range(STEPS))
GPT2: dict[str, Any] = {"positions": "learned", "norm": "layernorm", "activation": "gelu", "bias": True}
STYLES: dict[str, dict[str, Any]] = {
    "tied": GPT2,
    "untied": {"tied_embeddings": False, "kv_heads": 2},
    "tied modern": {"kv_heads": 2, "qk_norm": True},
    "untied gpt2": {**GPT2, "tied_embeddings": False},
    "banded": {**GPT2, "window": 3, "windowed_layers": "alternating"},
    "deep": {"layers": 4},
    "dropping": {**GPT2, "dropout": 0.3},
}
SHAPES: dict[str, ModelShape] = {
    name: ModelSettings.model_validate({"layers": 2, "width": 16, "heads": 4, "initial_std": 0.05, **style}).shaped(
        vocab_size=VOCABULARY, context_length=TOKENS
    )
    for name, style in STYLES.items()
}


@dataclass(frozen=True)
class Case:
    """A model, what it is trained on, and how."""

    model: str
    """Key of `SHAPES`."""
    layout: Layout
    data: str = "ragged"
    """Kind of `batch_of`; with "ramp" the batch grows."""
    options: tuple[tuple[str, Any], ...] = ()
    """Settings that differ."""
    precision: Precision = "fp32"

    def __str__(self) -> str:
        layout = self.layout
        parts = [f"{self.model} dp{layout.data} tp{layout.tensor} pp{layout.pipeline} zero{layout.zero}"]
        parts.append(f"{layout.accumulation_steps} micro-batches")
        parts += ["sequence"] * layout.sequence + [self.data] * (self.data != "ragged")
        parts += [f"{key} {getattr(value, 'kind', value)}" for key, value in self.options]
        return ", ".join(parts + [self.precision] * (self.precision != "fp32"))


@dataclass
class Trained:
    """What one process says of a case."""

    curve: Curve | None
    """On the first process only: what all processes together found."""
    initial_is_exact: bool
    digest: str
    """Of all gradients, norms and weights, bit for bit; the same on all processes."""
    measured: Tensor
    """[3, T] losses of rows of the last batch, with the final weights."""


def layout_of(data: int = 1, tensor: int = 1, pipeline: int = 1, zero: int = 1, parts: int = 1, **more: Any) -> Layout:
    """`parts`: micro-batches of a copy."""
    return Layout(data, tensor, pipeline, zero, ROWS, ROWS // data // parts, **more)


def initial_weight(declaration: ParameterDeclaration) -> Tensor:
    value = initial_value(declaration, seed=3)
    if declaration.initial == "normal":
        return value
    generator = torch.Generator().manual_seed(sum(declaration.name.encode()))
    return value + 0.1 * torch.randn(declaration.shape, generator=generator)


def batch_of(kind: str, step: int) -> Batch:
    """The whole batch of a step; "full": every target counts, and no mask says so."""
    random = np.random.default_rng(step)
    inputs, targets = random.integers(0, VOCABULARY, size=(2, ROWS, TOKENS))
    mask = random.permuted(np.arange(TOKENS) < np.array(VALID[step % STEPS])[:, None], axis=1)
    segments = np.sort(random.integers(0, 3, inputs.shape, dtype=np.int32), axis=1) if kind == "documents" else None
    prefix = random.integers(0, 5, ROWS, dtype=np.int32) if kind == "prefix" else None
    batch = Batch(inputs, targets, None if kind == "full" else mask, segments, prefix)
    return part_of(batch, slice(0, RAMP[step] if kind == "ramp" else ROWS))


def part_of(batch: Batch, rows: slice) -> Batch:
    optional = (batch.mask, batch.segments, batch.prefix)
    return Batch(batch.inputs[rows], batch.targets[rows], *(None if part is None else part[rows] for part in optional))  # type: ignore[arg-type]


def make_engine(ranks: Ranks, case: Case) -> TrainingEngine:
    settings = PretrainSettings(optimizer=OPTIMIZER, gradient_clipping=CLIPPING).model_copy(update=dict(case.options))
    return TrainingEngine(SHAPES[case.model], initial_weight, settings, case.layout, case.precision, ranks)


def compute_gradient(engine: TrainingEngine, ranks: Ranks, batch: Batch) -> float:
    """Of a whole batch, of which this process takes its part; returns the mean loss."""
    layout, rows = engine.layout, len(batch.inputs)
    share = part_of(batch, layout.rows_of(layout.coordinates(ranks.rank).data, rows))
    pieces = [part_of(share, piece) for piece in layout.micro_batches(rows)]
    (loss,) = ranks.sum([engine.compute_gradient(pieces, batch.valid_tokens)])
    return loss / batch.valid_tokens


def train_case(ranks: Ranks, case: Case) -> Trained:
    """`STEPS` steps through the engine."""
    engine = make_engine(ranks, case)
    initial = {item.name: initial_weight(item) for item in declare_parameters(engine.shape)}
    started = dict(engine.full_weights())
    exact = started.keys() == initial.keys() and all(torch.equal(initial[name], started[name]) for name in initial)
    curve = Curve()
    for step, rate in enumerate(RATES):
        curve.losses.append(compute_gradient(engine, ranks, batch_of(case.data, step)))
        if step < COMPARED_GRADIENTS:
            scaler = engine.scaler_state()
            scale = 1.0 if scaler is None else scaler["scale"]
            curve.gradients.append({name: gradient / scale for name, gradient in engine.gradients()})
        curve.norms.append(engine.gradient_norm())
        engine.step(rate)
    curve.weights = {name: weight.clone() for name, weight in engine.full_weights()}
    measured = engine.measure(part_of(batch_of(case.data, STEPS - 1), slice(0, 3)))
    engine.close()
    return Trained(None if ranks.rank else curve, exact, digest_of(curve), measured)


def train_cases(ranks: Ranks, cases: list[Case]) -> list[Trained]:
    return [train_case(ranks, case) for case in cases]


def digest_of(curve: Curve) -> str:
    hashed = hashlib.sha256(repr((curve.losses, curve.norms)).encode())
    for tensors in (*curve.gradients, curve.weights):
        for name, value in tensors.items():
            hashed.update(name.encode() + value.numpy().tobytes())
    return hashed.hexdigest()


def reference_of(case: Case) -> Curve:
    """What a case must equal."""
    options = dict(case.options)
    kind = options["optimizer"].kind if "optimizer" in options else "adamw"
    return _reference(case.model, case.data, options.get("z_loss", 0.0), kind)


@cache
def _reference(model: str, data: str, z_loss: float, kind: str) -> Curve:
    declarations = declare_parameters(SHAPES[model])

    def adamw(weights: dict[str, Any]) -> torch.optim.Optimizer:
        groups = [
            {
                "params": [weights[item.name] for item in declarations if (len(item.shape) > 1) == is_matrix],
                "weight_decay": OPTIMIZER.weight_decay * is_matrix,
            }
            for is_matrix in (True, False)
        ]
        return torch.optim.AdamW(groups, betas=OPTIMIZER.betas, eps=OPTIMIZER.eps)

    def matrix_optimizer(weights: dict[str, Any]) -> torch.optim.Optimizer:
        return build_optimizer(weights, declarations, MATRIX_OPTIMIZERS[kind])

    initial = {item.name: initial_weight(item) for item in declarations}
    steps = [(batch_of(data, step), rate) for step, rate in enumerate(RATES)]
    optimizer_of = adamw if kind == "adamw" else matrix_optimizer
    return train(initial, SHAPES[model], steps, CLIPPING, optimizer_of, z_loss)


def differences(case: Case, found: Trained) -> dict[str, float]:
    """The largest relative difference of each quantity of `LIMITS`."""
    wanted, curve = reference_of(case), found.curve
    assert curve is not None
    result = dict.fromkeys(LIMITS, 0.0)
    for step, (one, two) in enumerate(zip(curve.gradients, wanted.gradients, strict=False)):
        for name, value in apart(one, two).items():
            kind = _kind_of_gradient(step, name)
            result[kind] = max(result[kind], value)
    result["loss"] = max(abs(one / two - 1) for one, two in zip(curve.losses, wanted.losses, strict=True))
    result["norm"] = max(abs(one / two - 1) for one, two in zip(curve.norms, wanted.norms, strict=True))
    by_muon = dict(case.options).get("optimizer") == MATRIX_OPTIMIZERS["muon"]
    result["weight by Muon" if by_muon else "weight"] = max(apart(curve.weights, wanted.weights).values())
    batch = part_of(batch_of(case.data, STEPS - 1), slice(0, 3))
    result["measured"] = relative(found.measured, token_losses(wanted.weights, SHAPES[case.model], batch))
    return result


def _kind_of_gradient(step: int, name: str) -> str:
    if step or any(part in name for part in HARDER):
        return "harder gradient"
    return "gradient of norms" if "norm" in name else "gradient"


def problems(case: Case, by_rank: Sequence[Trained]) -> list[str]:
    """What is not as it must be: the comparison of all proofs."""
    found = [] if all(one.initial_is_exact for one in by_rank) else ["initial weights"]
    found += [] if len({one.digest for one in by_rank}) == 1 else ["processes differ"]
    return found + [name for name, value in differences(case, by_rank[0]).items() if not value <= LIMITS[name]]


def apart(found: Weights, wanted: Weights) -> dict[str, float]:
    """The relative difference of each tensor."""
    assert found.keys() == wanted.keys()
    return {name: relative(found[name], wanted[name]) for name in wanted}


def relative(found: Tensor, wanted: Tensor) -> float:
    """|a - b| / |b| in the Euclidean norm; a difference that is no number is infinite."""
    difference = (found.double() - wanted.double()).norm() / wanted.double().norm()
    return difference.nan_to_num(nan=float("inf")).item()


def worst(several: Iterable[dict[str, float]]) -> dict[str, float]:
    """The largest of each quantity."""
    found: dict[str, float] = {}
    for one in several:
        for name, value in one.items():
            found[name] = max(found.get(name, 0.0), value)
    return found
