"""The table of refusals: what does not work is refused with the reason and what to do, all of a recipe at once."""

import re
from typing import Any

import pytest

from trainer.finetune.settings import FinetuneSettings
from trainer.parallel.compatibility import LayoutRefused, nearest_multiple
from trainer.parallel.layout import Layout, plan_layout
from trainer.parallel.refusals import REFUSALS, combinations
from trainer.settings import ModelSettings, PretrainSettings, TrainingSettings

CONTEXT = 16
MODEL = ModelSettings(layers=4, width=48, heads=12, kv_heads=6, feed_forward_width=96)

CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "devices that tensor x pipeline (x data) does not divide": (
        {"parallel": {"tensor": 3, "pipeline": 2}, "devices": 16},
        "parallel",
        "tensor 3 x pipeline 2 = 6 processes do not fit 16 devices.*12 or 18 devices would do",
    ),
    "more processes than this machine has GPUs": (
        {"parallel": {"tensor": 2, "pipeline": 2}, "gpus": 2},
        "parallel",
        "tensor 2 x pipeline 2 = 4 processes, but this machine has 2 GPUs.*--devices N",
    ),
    "heads that parallel.tensor does not divide": (
        {"parallel": {"tensor": 8}},
        "parallel.tensor",
        r"tensor 8 does not divide the 12 attention heads.*heads and kv_heads allow 1, 2, 3, 6\)",
    ),
    "kv_heads that parallel.tensor does not divide": (
        {"parallel": {"tensor": 4}},
        "parallel.tensor",
        r"tensor 4 does not divide the 6 heads of keys and values.*allow 1, 2, 3, 6\)",
    ),
    "a feed-forward width that parallel.tensor does not divide": (
        {"parallel": {"tensor": 5}},
        "parallel.tensor",
        "tensor 5 does not divide the feed-forward width 96.*nearest width is 95",
    ),
    "parallel.sequence without parallel.tensor": (
        {"parallel": {"sequence": True}},
        "parallel.sequence",
        "there is only one; leave sequence out, or set tensor above 1",
    ),
    "parallel.sequence with a context length that parallel.tensor does not divide": (
        {"parallel": {"tensor": 3, "sequence": True}},
        "parallel.sequence",
        "tensor 3 does not divide the 16 tokens of a row.*nearest context length is 15",
    ),
    "parallel.sequence in finetuning with a parallel.tensor that does not divide 8": (
        {"finetune": True, "context": 48, "parallel": {"tensor": 6, "sequence": True}},
        "parallel.sequence",
        "padded to a multiple of 8 tokens.*set tensor to 2, 4 or 8",
    ),
    "fewer layers than parallel.pipeline stages": (
        {"parallel": {"pipeline": 6}, "micro_batch_size": 2},
        "parallel.pipeline",
        "pipeline 6 stages for 4 layers.*lower pipeline",
    ),
    "zero 2 or 3 with parallel.pipeline": (
        {"zero": 2, "parallel": {"pipeline": 2}, "micro_batch_size": 2},
        "zero",
        "zero 2 with pipeline 2.*set zero to 1",
    ),
    "zero 2 or 3 with adafactor or muon": (
        {"zero": 3, "optimizer": {"kind": "adafactor"}},
        "zero",
        "zero 3 with optimizer adafactor.*set zero to 1",
    ),
    "offload_optimizer with zero 0": (
        {"zero": 0, "offload_optimizer": True},
        "offload_optimizer",
        "zero 0 makes no parts; set zero to 1, 2 or 3",
    ),
    "offload_optimizer with adafactor or muon": (
        {"offload_optimizer": True, "optimizer": {"kind": "muon"}},
        "offload_optimizer",
        "offload_optimizer with optimizer muon.*or use adamw",
    ),
    "global_batch_tokens that is no multiple of the context length": (
        {"global_batch_tokens": 100, "parallel": {"data": 2}},
        "global_batch_tokens",
        "100 tokens are no multiple of the context length 16.*the nearest is 96",
    ),
    "a global batch that the copies cannot share": (
        {"parallel": {"data": 5}},
        "parallel.data",
        r"12 rows \(192 tokens\) cannot be divided among 5 data-parallel.*nearest that can is 10 rows \(160 tokens\)",
    ),
    "a batch_ramp whose batches cannot be divided": (
        {"parallel": {"data": 2}, "batch_ramp": {"start_tokens": 48, "over_tokens": 9600, "increment_tokens": 32}},
        "batch_ramp",
        r"^start_tokens 48: every batch.*start_tokens 64 is the nearest\)",
    ),
}
"""For each entry of the table a request that it refuses, where the message is shown, and what it says."""


def plan(
    *,
    gpus: int = 0,
    devices: int | None = None,
    context: int = CONTEXT,
    finetune: bool = False,
    rows: int = 12,
    **fields: Any,
) -> Layout:
    settings: TrainingSettings
    if finetune:
        settings = FinetuneSettings.model_validate({"batch_size": rows, **fields})
    else:
        settings = PretrainSettings.model_validate({"global_batch_tokens": rows * CONTEXT, **fields})
    return plan_layout(settings, context, gpus=gpus, cores=2, devices=devices, model=MODEL)


def refused(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(LayoutRefused) as caught:
        plan(**fields)
    assert caught.value.exit_code == 2
    return caught.value.problems


@pytest.mark.parametrize("what", list(CASES))
def test_each_entry_refuses_with_the_reason_and_what_to_do(what: str) -> None:
    fields, key, message = CASES[what]
    assert [where for where, text in refused(**fields) if re.search(message, text)] == [key]


def test_every_entry_of_the_table_has_a_case_here() -> None:
    assert [refusal.what for refusal in REFUSALS] == list(CASES)


def test_what_is_near_a_refusal_works() -> None:
    working: list[dict[str, Any]] = [
        {"parallel": {"tensor": 3, "pipeline": 2}, "devices": 12, "micro_batch_size": 2},
        {"parallel": {"tensor": 6}},
        {"parallel": {"tensor": 2, "sequence": True}},
        {"parallel": {"pipeline": 4}, "micro_batch_size": 5},
        {"zero": 0, "parallel": {"pipeline": 2}, "micro_batch_size": 3},
        {"zero": 3, "parallel": {"tensor": 2}},
        {"zero": 1, "optimizer": {"kind": "muon"}, "parallel": {"pipeline": 2}, "micro_batch_size": 3},
        {"zero": 2, "offload_optimizer": True},
        {"parallel": {"data": 5}, "rows": 10},
        {"parallel": {"data": 2}, "batch_ramp": {"start_tokens": 64, "over_tokens": 9600}},
        {"finetune": True, "context": 48, "parallel": {"tensor": 2, "sequence": True}},
    ]
    for fields in working:
        plan(**fields)


def test_all_that_is_wrong_is_told_at_once() -> None:
    problems = refused(
        parallel={"tensor": 4, "pipeline": 6, "sequence": True, "data": 5},
        zero=2,
        optimizer={"kind": "muon"},
        devices=7,
    )
    assert [key for key, _ in problems] == [
        "parallel",
        "parallel.tensor",
        "parallel.pipeline",
        "zero",
        "zero",
        "parallel.data",
    ]


@pytest.mark.parametrize(("number", "of", "nearest"), [(12, 5, 10), (13, 5, 15), (1, 5, 5), (100, 32, 96)])
def test_the_nearest_multiple_is_never_nothing(number: int, of: int, nearest: int) -> None:
    assert nearest_multiple(number, of) == nearest


def test_the_table_of_combinations_is_what_the_plan_does() -> None:
    found = dict(combinations())
    assert found["data copies"] == [None] * 4
    assert found["+ tensor, sequence"] == [None] * 4
    assert found["+ pipeline"] == [None, None, *["zero 2 or 3 with parallel.pipeline"] * 2]
    assert found["muon"] == [None, None, *["zero 2 or 3 with adafactor or muon"] * 2]
    assert found["offload_optimizer"] == ["offload_optimizer with zero 0", None, None, None]
