"""Layers are timed for stages of the same duration."""

import torch

from tests.parallel.launcher import run_ranks
from tests.trainer.engine_process import Case, layout_of, train
from tests.trainer.ragged import SHAPES, plain_training
from trainer.parallel.timing import measured_costs
from trainer.ranks import Ranks
from trainer.settings import ModelSettings, ParallelSettings

MEASURED = (("parallel", ParallelSettings(pipeline=2, balance="measured")),)


def test_a_layer_with_more_work_takes_longer() -> None:
    shape = ModelSettings(layers=3, width=64, heads=4).shaped(vocab_size=20_000, context_length=64)
    embedding, *blocks, head = measured_costs(shape, 4, "fp32", torch.device("cpu"))
    assert len(blocks) == 3
    assert len(set(blocks)) == 1, "blocks of one kind are timed once"
    assert head > 2 * blocks[0] > 0
    assert embedding > 0


def train_measured(ranks: Ranks) -> list[float]:
    losses: list[float] = train(ranks, Case("untied", layout_of(pipeline=2, micro_batch_size=4), MEASURED))["losses"]
    return losses


def test_stages_by_measured_time_compute_the_same() -> None:
    expected = plain_training(SHAPES["untied"]).losses
    for losses in run_ranks(2, train_measured):
        assert all(abs(one - other) < 1e-5 for one, other in zip(losses, expected, strict=True))
