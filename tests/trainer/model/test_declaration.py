"""Every parameter is declared once: how it is cut and put together again, where it belongs, how it starts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.model.styles import STYLES, small
from trainer.model.declaration import ParameterDeclaration, cutting_faults, declare_parameters
from trainer.model.gpt import Block, Embedding, Head
from trainer.model.init import build_model, empty_model, initial_value
from trainer.model.partition import Partition
from trainer.parallel.tensor_group import TensorGroup
from trainer.settings import ModelSettings, ModelShape


@st.composite
def shapes(draw: st.DrawFn) -> tuple[ModelShape, int]:
    """A model of any style, size and vocabulary, and a number of processes that its heads can be shared among."""
    size = draw(st.integers(1, 8))
    kv_heads = size * draw(st.integers(1, 2))
    heads = kv_heads * draw(st.integers(1, 2))
    gpt2 = draw(st.booleans())
    model = ModelSettings(
        layers=draw(st.integers(1, 2)),
        width=heads * 2 * draw(st.integers(1, 2)),
        heads=heads,
        kv_heads=kv_heads,
        feed_forward_width=size * draw(st.integers(1, 5)),
        positions="learned" if gpt2 else draw(st.sampled_from(["rope", "alibi"])),
        norm="layernorm" if gpt2 else "rmsnorm",
        norm_position=draw(st.sampled_from(["before", "after"])),
        activation="gelu" if gpt2 else draw(st.sampled_from(["swiglu", "geglu"])),
        bias=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
        tied_embeddings=draw(st.booleans()),
    )
    return model.shaped(vocab_size=draw(st.integers(1, 40)), context_length=5), size


@settings(max_examples=40, deadline=None)
@given(shapes())
def test_pieces_put_together_are_the_parameter_and_pieces_of_it_are_the_pieces(given: tuple[ModelShape, int]) -> None:
    shape, size = given
    for item in declare_parameters(shape):
        full = torch.arange(1.0, item.size + 1).view(item.shape)
        pieces = [item.local(full, rank, size) for rank in range(size)]
        assert {tuple(piece.shape) for piece in pieces} == {item.local_shape(size)}
        assert torch.equal(item.assemble(pieces), full)
        again = [item.local(item.assemble(pieces), rank, size) for rank in range(size)]
        assert all(torch.equal(*pair) for pair in zip(pieces, again, strict=True))


@settings(max_examples=40, deadline=None)
@given(shapes())
def test_slices_say_where_each_value_of_a_piece_lies_and_all_else_is_padding(given: tuple[ModelShape, int]) -> None:
    shape, size = given
    for item in declare_parameters(shape):
        full = torch.arange(1.0, item.size + 1).view(item.shape)
        along = 0 if item.partition is None else item.partition.dimension
        seen = torch.zeros(item.shape[along])
        for rank in range(size):
            piece = item.local(full, rank, size).clone()
            for theirs, ours in item.slices(rank, size):
                part = piece.narrow(along, ours.start, ours.stop - ours.start)
                assert torch.equal(part, full.narrow(along, theirs.start, theirs.stop - theirs.start))
                part.zero_()
                seen[theirs] += 1
            assert not piece.any()
        assert (seen == (1 if item.partition is not None else size)).all()


@settings(max_examples=20, deadline=None)
@given(shapes())
def test_a_process_builds_the_declared_pieces_of_the_whole_model(given: tuple[ModelShape, int]) -> None:
    shape, size = given
    whole = build_model(shape, seed=1).state_dict()
    rank = size // 2
    state = build_model(shape, 1, TensorGroup(rank, size)).state_dict()
    for item in declare_parameters(shape):
        assert tuple(state[item.name].shape) == item.local_shape(size)
        assert torch.equal(state[item.name], item.local(whole[item.name], rank, size))


@pytest.mark.parametrize("style", STYLES)
def test_the_parts_of_the_model_have_the_parameters_that_are_declared_to_be_theirs(style: str) -> None:
    shape = small(style)
    modules = {"embedding": Embedding(shape), "head": Head(shape)}
    modules |= {str(layer): Block(shape, layer) for layer in range(shape.layers)}
    for stage, module in modules.items():
        owned = {
            item.name.removeprefix(f"blocks.{stage}.")
            for item in declare_parameters(shape)
            if str(item.stage_of) == stage or (stage == "head" and item.tied)
        }
        assert set(dict(module.named_parameters())) == owned


def test_a_vocabulary_of_any_size_is_cut_into_equal_pieces_the_last_ends_in_zeros() -> None:
    cut = Partition(0, (5,), padded=True)
    rows = torch.arange(1, 6)
    assert [cut.local(rows, rank, 3).tolist() for rank in range(3)] == [[1, 2], [3, 4], [5, 0]]
    assert [cut.local(rows, rank, 4).tolist() for rank in range(4)] == [[1, 2], [3, 4], [5, 0], [0, 0]]


def test_queries_keys_and_values_are_each_cut_by_themselves() -> None:
    item = next(item for item in declare_parameters(small("grouped")) if item.name.endswith("query_key_value.weight"))
    assert item.slices(1, 2) == [
        (slice(16, 32), slice(0, 16)),
        (slice(40, 48), slice(16, 24)),
        (slice(56, 64), slice(24, 32)),
    ]


def test_what_cannot_be_cut_is_named() -> None:
    shape = small(heads=4, kv_heads=2, width=24, feed_forward_width=30)
    assert cutting_faults(shape, 2) == ()
    assert cutting_faults(shape, 4) == (
        "model.kv_heads is 2, which cannot be divided among 4 processes",
        "model.feed_forward_width is 30, which cannot be divided among 4 processes",
    )
    with pytest.raises(ValueError, match="kv_heads is 2"):
        empty_model(shape, TensorGroup(0, 4))
    with pytest.raises(ValueError, match=r"blocks\.0\.feed_forward\.gate_up\.weight: 30 cannot be divided among 4"):
        [item.local_shape(4) for item in declare_parameters(shape)]


def test_heads_are_never_cut_in_two() -> None:
    with pytest.raises(ValueError, match="heads is 3"):  # 3 x 8 features could be halved
        empty_model(small(heads=3, width=24), TensorGroup(0, 2))


def test_roles_say_what_a_parameter_does() -> None:
    roles = {item.name.replace("blocks.0.", ""): item.role for item in declare_parameters(small("gpt2", layers=1))}
    assert roles["token_embedding.weight"] == "token_embedding"
    assert roles["position_embedding.weight"] == "position_embedding"
    assert roles["attention.query_key_value.weight"] == "matrix"
    assert roles["attention.output.bias"] == "bias"
    assert roles["final_norm.bias"] == "norm"
    untied = declare_parameters(small("grouped"))[-1]
    assert (untied.name, untied.role, untied.stage_of) == ("output.weight", "output", "head")


def test_an_initial_weight_depends_on_the_seed_and_its_name_alone() -> None:
    few, many = build_model(small(), seed=1), build_model(small(layers=5, initial_std=0.02), seed=1)
    other_seed = build_model(small(), seed=2)
    name = "blocks.1.attention.query_key_value.weight"
    assert torch.equal(few.state_dict()[name], many.state_dict()[name])
    assert not torch.equal(few.state_dict()[name], other_seed.state_dict()[name])
    assert not torch.equal(few.state_dict()[name], few.state_dict()[name.replace("1", "0")])
    backwards = {item.name: initial_value(item, seed=1) for item in reversed(declare_parameters(small()))}
    assert all(torch.equal(backwards[key], value) for key, value in few.state_dict().items())


def test_initial_weights_have_the_declared_spread_and_residual_layers_less() -> None:
    for declaration in declare_parameters(small(width=256)):
        if declaration.initial == "normal":
            assert initial_value(declaration, 3).std().item() == pytest.approx(declaration.std, rel=0.05)

    def spread(shape: ModelShape) -> float:
        found: ParameterDeclaration = next(
            item for item in declare_parameters(shape) if item.name == "blocks.0.feed_forward.down.weight"
        )
        return found.std

    assert spread(small()) == pytest.approx(0.02 / math.sqrt(4))
    assert spread(small("gpt1")) == 0.02
