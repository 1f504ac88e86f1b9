"""The golden curves: 20 steps of each style of model, on one process and through the engine.

`python -m tests.parallel.golden` writes golden.json anew: after a change that is meant to change what is computed, and
never to make a red test green.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np

from tests.parallel.launcher import run_ranks
from tests.trainer.model.styles import STYLES, small
from trainer.data.batch import Batch
from trainer.engine import TrainingEngine
from trainer.model.init import initial_value
from trainer.parallel.layout import Layout
from trainer.ranks import Ranks
from trainer.settings import AdamWSettings, PretrainSettings

FILE = Path(__file__).with_name("golden.json")
STEPS, ROWS = 20, 4

Curves = dict[str, dict[str, list[str]]]
"""Style -> "losses", "norms" -> a number a step, as hexadecimal floats: no digit is lost."""


def curves(ranks: Ranks) -> Curves:
    """Losses and gradient norms of every style."""
    return {style: _curve(ranks, style) for style in STYLES}


def _curve(ranks: Ranks, style: str) -> dict[str, list[str]]:
    shape = small(style)
    settings = PretrainSettings(optimizer=AdamWSettings(lr=0.003), gradient_clipping=1.0)
    layout = Layout(1, 1, 1, 1, ROWS, 2)
    engine = TrainingEngine(shape, partial(initial_value, seed=1), settings, layout, "fp32", ranks)
    random = np.random.default_rng(0)
    found: dict[str, list[str]] = {"losses": [], "norms": []}
    for _ in range(STEPS):
        # Tokens that repeat with a period, so that there is something to learn.
        rows = (random.integers(0, 60, (ROWS, 1)) + np.arange(shape.context_length + 1) % 7) % shape.vocab_size
        mask = random.random((ROWS, shape.context_length)) < 0.8
        batches = [Batch(rows[at : at + 2, :-1], rows[at : at + 2, 1:], mask[at : at + 2]) for at in (0, 2)]
        found["losses"].append((engine.compute_gradient(batches, int(mask.sum())) / int(mask.sum())).hex())
        found["norms"].append(engine.gradient_norm().hex())
        engine.step(0.003)
    engine.close()
    return found


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(run_ranks(1, curves)[0], indent=1) + "\n")


if __name__ == "__main__":
    main()
