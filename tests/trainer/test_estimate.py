"""The estimate against reality: counted parameters, tensors that autograd keeps, arithmetic done by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.parallel.launcher import run_ranks
from tests.trainer.held_state import held_bytes
from tests.trainer.ragged import ROWS
from tests.trainer.ragged import SHAPES as ENGINE_SHAPES
from tests.trainer.saved_tensors import kept_bytes
from trainer.estimate import Estimate, estimate_training
from trainer.estimate.activations import activation_bytes, mask_bytes
from trainer.estimate.flops import find_device
from trainer.estimate.training import smaller_settings
from trainer.model.declaration import declare_parameters, parameter_count
from trainer.optim.build import build_optimizer
from trainer.optim.ownership import owners_of
from trainer.optim.state import state_kinds
from trainer.parallel.layout import Layout
from trainer.parallel.tensor_group import TensorGroup
from trainer.ranks import Ranks
from trainer.settings import ModelSettings, ModelShape, PretrainSettings

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"preset": "gpt2-124m", "layers": 3, "width": 96, "heads": 6},
    "modern, grouped keys": {"layers": 3, "width": 96, "heads": 6, "kv_heads": 2, "tied_embeddings": False},
    "gpt1, ungated": {
        "layers": 2,
        "width": 64,
        "heads": 4,
        "norm_position": "after",
        "norm": "layernorm",
        "activation": "gelu",
        "positions": "learned",
    },
    "head norms, geglu": {"layers": 2, "width": 64, "heads": 4, "qk_norm": True, "activation": "geglu"},
    "window, alibi": {"layers": 2, "width": 64, "heads": 4, "window": 8, "positions": "alibi", "norm": "layernorm"},
}


def shape_of(name: str) -> ModelShape:
    return ModelSettings.model_validate(SHAPES[name]).shaped(vocab_size=301, context_length=50)


def estimated(
    shape: ModelShape, layout: Layout, *, precision: str = "bf16", cuda: bool = True, **fields: Any
) -> Estimate:
    settings = PretrainSettings.model_validate({"zero": layout.zero, **fields})
    return estimate_training(shape, settings, layout, precision=precision, cuda=cuda)


@pytest.mark.parametrize("name", list(SHAPES))
def test_parameters_are_counted_exactly_by_kind(name: str) -> None:
    shape = shape_of(name)
    estimate = estimated(shape, Layout(1, 1, 1, 1, 4, 4))
    assert estimate.parameter_count == parameter_count(shape)
    norms = sum(declaration.size for declaration in declare_parameters(shape) if declaration.role == "norm")
    assert estimate.parameters["norms"] == norms
    assert estimate.parameters["embedding"] == (301 + (50 if shape.positions == "learned" else 0)) * shape.width


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", list(SHAPES))
def test_activations_are_what_autograd_keeps(name: str, precision: str, checkpointed: bool) -> None:
    shape, rows = shape_of(name), 7
    bf16 = precision == "bf16"
    activations, copies = kept_bytes(shape, rows, bf16=bf16, checkpointed=checkpointed)
    settings = {"activation_checkpointing": "blocks" if checkpointed else "none"}
    (stage,) = estimated(shape, Layout(1, 1, 1, 0, rows, rows), precision=precision, cuda=False, **settings).stages
    of_token = activation_bytes(shape, element=2 if bf16 else 4, cuda=False)
    # The logits are kept, their gradient comes later; a checkpointed block is whole in the backward pass only.
    expected = stage.activations + rows * 50 * (of_token.logits / 2 - (of_token.block if checkpointed else 0))
    assert activations == pytest.approx(expected, rel=0.05)
    if not checkpointed:
        assert copies == pytest.approx(stage.copies, rel=0.05)


TENSOR_SHAPES = ("gpt2", "modern, grouped keys")


def kept_on_two_processes(ranks: Ranks) -> list[tuple[int, int]]:
    return [
        kept_bytes(shape_of(name), 7, bf16=bf16, tensor=TensorGroup(ranks.rank, 2, None, sequence))
        for name in TENSOR_SHAPES
        for sequence in (False, True)
        for bf16 in (False, True)
    ]


def test_what_each_of_two_tensor_ranks_keeps() -> None:
    by_rank = run_ranks(2, kept_on_two_processes)
    for kept in by_rank:
        found = iter(kept)
        for name in TENSOR_SHAPES:
            for sequence in (False, True):
                for element in (4, 2):
                    shape, (activations, copies) = shape_of(name), next(found)
                    layout = Layout(1, 2, 1, 0, 7, 7, sequence)
                    precision = "fp32" if element == 4 else "bf16"
                    (stage,) = estimated(shape, layout, precision=precision, cuda=False).stages
                    # Of the loss a process keeps its part of the logits.
                    logits = 7 * 50 * element * 151
                    assert activations == pytest.approx(stage.activations + logits, rel=0.05)
                    assert copies == pytest.approx(stage.copies, rel=0.05)


def test_a_kept_mask_is_counted_where_plain_causal_order_needs_none() -> None:
    plain, windowed, alibi = (shape_of(name) for name in ("gpt2", "window, alibi", "window, alibi"))
    windowed = windowed.model_copy(update={"positions": "rope"})
    assert mask_bytes(plain, rows=4, tokens=50, element=2) == 0
    assert mask_bytes(plain, rows=4, tokens=50, element=2, by_row=True) == 4 * 50 * 50
    assert mask_bytes(windowed, rows=4, tokens=50, element=2) == 50 * 50
    assert mask_bytes(windowed, rows=4, tokens=8, element=2) == 0
    assert mask_bytes(alibi, rows=4, tokens=50, element=2, tensor=2) == 50 * 50 * 2 * 4 / 2


def state(estimate: Estimate) -> list[tuple[int, int, int]]:
    return [(stage.weights, stage.gradients, stage.optimizer) for stage in estimate.stages]


@pytest.mark.parametrize(
    ("zero", "expected"),
    [(0, (4, 4, 8)), (1, (4, 4, 12 / 4)), (2, (4, 4 / 4, 12 / 4)), (3, (4 / 4, 4 / 4, 12 / 4))],
)
def test_zero_divides_more_with_each_stage(zero: int, expected: tuple[float, float, float]) -> None:
    shape = shape_of("gpt2")
    (found,) = state(estimated(shape, Layout(4, 1, 1, zero, 8, 2)))
    assert found == pytest.approx([bytes_each * parameter_count(shape) for bytes_each in expected], rel=1e-4)


def test_stages_hold_their_layers_and_a_second_copy_of_tied_embeddings() -> None:
    shape = shape_of("gpt2")
    whole = 4 * parameter_count(shape)
    estimate = estimated(shape, Layout(1, 1, 3, 0, 8, 2))
    assert sum(stage.weights for stage in estimate.stages) == whole + 4 * shape.vocab_size * shape.width
    untied = shape.model_copy(update={"tied_embeddings": False})
    assert sum(stage.weights for stage in estimated(untied, Layout(1, 1, 3, 0, 8, 2)).stages) == 4 * parameter_count(
        untied
    )
    assert [stage.logits > 0 for stage in estimate.stages] == [False, False, True]


def test_earlier_stages_keep_more_micro_batches() -> None:
    shape = shape_of("gpt2").model_copy(update={"layers": 12, "vocab_size": 8})
    layout = Layout(1, 1, 4, 1, 16, 2)
    kept = [stage.activations for stage in estimated(shape, layout).stages]
    assert kept[0] / kept[2] == pytest.approx(4 / 2, rel=0.02)
    assert estimated(shape, layout).bubble == pytest.approx(3 / (8 + 3))
    assert estimated(shape, Layout(4, 1, 1, 1, 16, 2)).bubble == 0.0


def test_tensor_ranks_hold_their_parts_with_the_vocabularys_padding() -> None:
    shape = shape_of("gpt2")
    cut = [declaration for declaration in declare_parameters(shape) if declaration.partition is not None]
    replicated = parameter_count(shape) - sum(declaration.size for declaration in cut)
    padding = shape.width  # 301 rows are 151 on each of two processes
    (stage,) = estimated(shape, Layout(1, 2, 1, 0, 8, 2)).stages
    assert stage.weights * 2 == 4 * (parameter_count(shape) + replicated + padding)


@pytest.mark.parametrize(("kind", "least", "most"), [("adafactor", 0.02, 0.5), ("muon", 4.0, 8.0)])
def test_other_optimizers_keep_less_and_exactly_what_the_real_ones_do(kind: str, least: float, most: float) -> None:
    shape = shape_of("gpt2")
    declarations = declare_parameters(shape)
    held = {item.name: nn.Parameter(torch.zeros(item.local_shape(2))) for item in declarations}
    settings = PretrainSettings.model_validate({"optimizer": {"kind": kind}}).optimizer
    optimizer = build_optimizer(held, declarations, settings, tensor=TensorGroup(1, 2))
    kept = {item.name: sum(v.nbytes for v in state_kinds(optimizer, held[item.name]).values()) for item in declarations}
    (alone,) = estimated(shape, Layout(1, 1, 1, 0, 8, 2), optimizer={"kind": kind}).stages
    assert least < alone.optimizer / parameter_count(shape) < most
    (cut,) = estimated(shape, Layout(3, 2, 1, 0, 6, 2), optimizer={"kind": kind}).stages
    assert cut.optimizer == sum(kept.values())
    (shared,) = estimated(shape, Layout(3, 2, 1, 1, 6, 2), optimizer={"kind": kind}).stages
    owners = owners_of(declarations, settings, 3)
    by_owner = [
        sum(kept[item.name] for item, owner in zip(declarations, owners, strict=True) if owner == n) for n in range(3)
    ]
    assert shared.optimizer == max(by_owner)
    assert shared.optimizer < 0.6 * cut.optimizer


def test_what_is_offloaded_lies_in_the_hosts_memory() -> None:
    shape = shape_of("gpt2")
    (kept,) = estimated(shape, Layout(2, 1, 1, 2, 8, 2)).stages
    (offloaded,) = estimated(shape, Layout(2, 1, 1, 2, 8, 2), offload_optimizer=True).stages
    assert (offloaded.optimizer, offloaded.host) == (0, kept.optimizer)
    assert offloaded.total == kept.total - kept.optimizer


def test_the_time_follows_from_arithmetic_and_utilisation() -> None:
    h100 = find_device("h100")
    assert h100 is not None
    shape = ModelSettings.model_validate({"preset": "gpt2-124m"}).shaped(50304, 1024)
    estimate = estimated(shape, Layout(8, 1, 1, 1, 512, 16))
    # nanoGPT's count of the same model: 6 N + 12 L D T, and N with the output matrix.
    assert estimate.flops.total == pytest.approx(6 * 123.7e6 + 12 * 12 * 768 * 1024, rel=0.01)
    assert estimate.step_seconds(h100, 0.4) == pytest.approx(estimate.flops.total * 512 * 1024 / (8 * 989e12 * 0.4))
    checkpointed = estimated(shape, Layout(8, 1, 1, 1, 512, 16), activation_checkpointing="blocks")
    assert checkpointed.recomputed == pytest.approx(sum(estimate.flops.blocks) / 3)
    assert checkpointed.step_seconds(h100, 0.4) == estimate.step_seconds(h100, 0.4)


def test_what_a_process_sends_in_a_step() -> None:
    shape = shape_of("gpt2")
    alone = estimated(shape, Layout(1, 1, 1, 1, 8, 2)).traffic
    assert (alone.data, alone.tensor, alone.pipeline) == (0.0, 0.0, 0.0)
    spread = estimated(shape, Layout(2, 2, 3, 1, 8, 2)).traffic
    # A block sums its output four times, 2 bytes a value, and half of a ring of two: 4 rows of 50 tokens.
    assert spread.tensor == pytest.approx(4 * 2 * 1 * 4 * 50 * shape.width)
    assert spread.pipeline == 2 * 4 * 4 * 50 * shape.width


def test_what_can_be_lowered_takes_less_memory() -> None:
    shape = shape_of("gpt2")
    layout = Layout(2, 2, 1, 1, 16, 8)
    settings = PretrainSettings(zero=1)
    before = estimate_training(shape, settings, layout, precision="bf16").fullest.total
    found = dict(smaller_settings(shape, settings, layout, precision="bf16"))
    assert list(found) == [
        "micro_batch_size 4",
        "parallel.sequence true",
        "activation_checkpointing blocks",
        "zero 2",
        "zero 3",
        "offload_optimizer true",
    ]
    less = [words for words, estimate in found.items() if estimate.fullest.total < before]
    assert less == [words for words in found if words != "zero 3"]
    under_pipeline = Layout(2, 1, 2, 1, 16, 8)
    assert not [
        words for words, _ in smaller_settings(shape, settings, under_pipeline, precision="bf16") if "zero" in words
    ]


STATES: list[tuple[dict[str, Any], list[Layout]]] = [
    (
        {},
        [Layout(2, 1, 1, zero, ROWS, 4) for zero in range(4)]
        + [Layout(1, 2, 1, zero, ROWS, 4) for zero in range(2)]
        + [Layout(1, 1, 2, zero, ROWS, 4) for zero in range(2)],
    ),
    ({"kind": "muon"}, [Layout(2, 1, 1, 1, ROWS, 4), Layout(1, 2, 1, 0, ROWS, 4), Layout(1, 1, 2, 1, ROWS, 4)]),
    ({"kind": "adafactor"}, [Layout(2, 1, 1, 1, ROWS, 4), Layout(1, 2, 1, 0, ROWS, 4), Layout(1, 1, 2, 1, ROWS, 4)]),
]


@pytest.mark.parametrize(("optimizer", "layouts"), STATES, ids=["adamw", "muon", "adafactor"])
def test_weights_gradients_and_state_are_those_of_a_running_engine(
    optimizer: dict[str, Any], layouts: list[Layout]
) -> None:
    shape = ENGINE_SHAPES["tied"]
    by_rank = run_ranks(2, held_bytes, shape, layouts, optimizer)
    for number, layout in enumerate(layouts):
        estimate = estimated(shape, layout, precision="fp32", optimizer=optimizer)
        held = [found[number] for found in by_rank]
        for rank, (weights, gradients, _) in enumerate(held):
            stage = estimate.stages[layout.coordinates(rank).pipeline]
            assert weights == stage.weights
            # ZeRO 1 has let go of others' gradients by now; ZeRO 2 holds on to those that its share cuts.
            is_shared_out = layout.data > 1 and layout.zero in (1, 2) and not optimizer
            assert is_shared_out or gradients == stage.gradients
        # Whole parameters are dealt out: the fullest process is a little above the mean.
        expected = max(stage.optimizer for stage in estimate.stages)
        assert max(state for _, _, state in held) == pytest.approx(expected, rel=0.01)
