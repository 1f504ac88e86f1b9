"""Norms by layer, against full tensors, in layouts that cut weights in every way there is."""

import math
from typing import Any

import pytest
import torch

from tests.parallel.launcher import run_ranks
from tests.trainer.engine_process import Case, gradient_of_step, layout_of, make_engine
from tests.trainer.ragged import rate_of
from trainer.logging.norms import NormsOfStep, layer_of
from trainer.ranks import Ranks

CASES = [
    Case("tied", layout_of(data=2, zero=0)),
    Case("gpt2", layout_of(data=2, zero=1, micro_batch_size=1)),
    Case("tied", layout_of(data=2, zero=3)),
    Case("gpt2", layout_of(tensor=2, zero=1)),
    Case("untied", layout_of(pipeline=2, zero=1)),
]


def look(ranks: Ranks, case: Case) -> dict[str, Any]:
    """Norms of the second step as found, and as full tensors say."""
    engine = make_engine(ranks, case)
    norms = NormsOfStep(engine, ranks, every=2)
    for step in (0, 1):
        before = {name: weight.clone() for name, weight in engine.full_weights()}
        gradient_of_step(engine, ranks, step)
        gradients = {name: gradient.clone() for name, gradient in engine.gradients()}
        engine.gradient_norm()
        norms.before(step + 1)
        engine.step(rate_of(step))
        found = norms.after(step + 1)
        assert (found is None) == (step == 0)
    expected: dict[str, dict[str, float]] = {}
    for name, after in engine.full_weights():
        layer = expected.setdefault(layer_of(name), {"weight": 0.0, "gradient": 0.0, "update": 0.0})
        for kind, values in (("weight", after), ("gradient", gradients[name]), ("update", after - before[name])):
            layer[kind] = math.hypot(layer[kind], torch.linalg.vector_norm(values.double()).item())
    engine.close()
    return {"found": found, "expected": expected}


def look_at_all(ranks: Ranks) -> list[dict[str, Any]]:
    return [look(ranks, case) for case in CASES]


def test_norms_are_those_of_the_full_tensors_in_every_layout() -> None:
    first, second = run_ranks(2, look_at_all)
    assert [item["found"] for item in first] == [item["found"] for item in second]
    for case, item in zip(CASES, first, strict=True):
        assert item["found"].keys() == item["expected"].keys(), case
        for layer, norms in item["found"].items():
            assert norms == pytest.approx(item["expected"][layer], rel=1e-5), (case, layer)
            assert norms["update"] > 0


def test_layers_are_blocks_and_what_stands_before_and_after_them() -> None:
    assert [layer_of(name) for name in ("token_embedding.weight", "blocks.11.attention.output.bias")] == [
        "token_embedding",
        "blocks.11",
    ]
