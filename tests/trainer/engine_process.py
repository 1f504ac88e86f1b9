"""One process of the proof in test_engine.py: trains every case through DeepSpeed and writes what came out."""

import sys
from itertools import product
from pathlib import Path
from typing import Any

import torch

from tests.trainer.ragged import CLIPPING, OPTIMIZER, ROWS, SHAPES, STEPS, global_batch, rate_of, rows_of
from trainer.engine import TrainingEngine
from trainer.model.init import build_model
from trainer.parallel.layout import Layout
from trainer.ranks import Ranks, join_ranks, leave_ranks
from trainer.settings import ParallelSettings, PretrainSettings


def train(ranks: Ranks, name: str, zero: int, micro_batch_size: int) -> dict[str, Any]:
    layout = Layout(ranks.world, 1, 1, zero, ROWS, micro_batch_size)
    settings = PretrainSettings(
        optimizer=OPTIMIZER,
        gradient_clipping=CLIPPING,
        zero=zero,  # type: ignore[arg-type]
        parallel=ParallelSettings(data=ranks.world),
    )
    engine = TrainingEngine(build_model(SHAPES[name], seed=3), settings, layout, "fp32", ranks)
    losses, norms = [], []
    for step in range(STEPS):
        share = rows_of(global_batch(step), layout.rows_of(ranks.rank))
        batches = [rows_of(share, piece) for piece in layout.micro_batches()]
        (valid,) = ranks.sum([sum(piece.valid_tokens for piece in batches)])
        (loss,) = ranks.sum([engine.compute_gradient(batches, int(valid))])
        losses.append(loss / valid)
        norms.append(engine.step(rate_of(step)))
    weights = dict(engine.full_weights())
    engine.close()
    return {"losses": losses, "norms": norms, "weights": weights}


def main(directory: Path) -> None:
    torch.set_num_threads(1)
    ranks = join_ranks("cpu")
    results = {}
    for name, zero in product(SHAPES, (0, 1, 2, 3)):
        for accumulation in (1, 4):
            micro_batch_size = ROWS // ranks.world // accumulation
            results[name, zero, accumulation] = train(ranks, name, zero, micro_batch_size)
    results["tied", 1, "uneven"] = train(ranks, "tied", 1, 3)
    torch.save(results, directory / f"world{ranks.world}-rank{ranks.rank}.pt")
    leave_ranks()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
