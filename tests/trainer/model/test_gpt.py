"""The model: all styles, its cache, its initial weights and its declarations."""

import importlib
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.model.styles import STYLES, small, some_tokens
from trainer.model.cache import KeyValueCache
from trainer.model.declaration import declare_parameters, parameter_count
from trainer.model.gpt import GPT, loss_sum
from trainer.model.init import build_model


@pytest.fixture(params=STYLES)
def model(request: pytest.FixtureRequest) -> GPT:
    return build_model(small(request.param), seed=1).eval()


def test_logits_have_one_row_per_token_and_the_first_loss_is_that_of_chance(model: GPT) -> None:
    tokens = some_tokens()
    logits = model(tokens)
    assert logits.shape == (3, 24, 67)
    assert loss_sum(logits, tokens.roll(1, 0)).item() / tokens.numel() == pytest.approx(math.log(67), abs=0.2)


def test_no_token_sees_a_later_one(model: GPT) -> None:
    tokens = some_tokens()
    changed = tokens.clone()
    changed[:, 10:] = (changed[:, 10:] + 1) % 67
    torch.testing.assert_close(model(tokens)[:, :10], model(changed)[:, :10], rtol=0, atol=1e-6)
    assert not torch.allclose(model(tokens)[:, 10:], model(changed)[:, 10:])


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, 23), max_size=4, unique=True))
@pytest.mark.parametrize("style", STYLES)
def test_the_cache_gives_the_logits_of_the_full_forward_whatever_the_pieces(style: str, cuts: list[int]) -> None:
    model, tokens = build_model(small(style), seed=1).eval(), some_tokens()
    cache = KeyValueCache(model.shape, batch_size=3)
    bounds = [0, *sorted(cuts), 24]
    with torch.no_grad():
        pieces = [model(tokens[:, start:end], cache) for start, end in itertools.pairwise(bounds)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), model(tokens), rtol=1e-5, atol=1e-5)


def test_the_cache_can_go_back_and_choose_among_its_sequences(model: GPT) -> None:
    tokens = some_tokens()
    cache = KeyValueCache(model.shape, batch_size=3)
    with torch.no_grad():
        model(tokens[:, :12], cache)
        cache.rewind(8)
        cache.select(torch.tensor([2, 0]))
        continued = model(tokens[[2, 0], 8:], cache)
        torch.testing.assert_close(continued, model(tokens[[2, 0]])[:, 8:], rtol=1e-5, atol=1e-5)


def test_more_tokens_than_the_context_holds_are_refused(model: GPT) -> None:
    with pytest.raises(ValueError, match="25 tokens do not fit into the context of 24"):
        model(some_tokens(tokens=25))


@pytest.mark.parametrize("style", STYLES)
def test_the_declarations_are_the_parameters_of_the_model(style: str) -> None:
    shape = small(style)
    model = build_model(shape, seed=1)
    declared = {declaration.name: declaration.shape for declaration in declare_parameters(shape)}
    assert declared == {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert parameter_count(shape) == sum(parameter.numel() for parameter in model.parameters())


def test_logits_of_chosen_positions_are_those_of_all_positions() -> None:
    model = build_model(small(), seed=1).eval()
    tokens = torch.randint(0, model.shape.vocab_size, (2, 5))
    chosen = torch.tensor([[True, False, True, False, False], [False] * 5])
    torch.testing.assert_close(model(tokens, chosen_BT=chosen), model(tokens)[chosen])


def test_masked_targets_bring_neither_loss_nor_gradient() -> None:
    logits = torch.randn(2, 5, 7, requires_grad=True)
    targets = torch.randint(0, 7, (2, 5))
    mask = torch.tensor([[True, False, True, False, False], [False] * 5])
    loss = loss_sum(logits[mask], targets[mask])
    loss.backward()  # type: ignore[no-untyped-call]
    kept = torch.log_softmax(logits, -1).gather(2, targets[..., None])[..., 0][mask]
    torch.testing.assert_close(loss, -kept.sum())
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(-1) > 0, mask)


@pytest.mark.parametrize("style", ["modern", "gpt3", "windowed alibi"])
def test_blocks_compile_without_a_break_and_blocks_of_one_kind_share_their_graph(style: str) -> None:
    model, tokens = build_model(small(style, layers=4, dropout=0.1), seed=1), some_tokens()
    expected = model.eval()(tokens)
    dynamo = importlib.import_module("torch._dynamo")
    dynamo.reset()
    graphs: list[torch.fx.GraphModule] = []

    def counted(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    for block in model.blocks:
        block.compile(backend=counted, fullgraph=True)  # a break would be an error
    torch.testing.assert_close(model(tokens), expected)
    assert len(graphs) == len({model.shape.window_of(layer) for layer in range(4)})
    torch.autograd.backward(model.train()(tokens).sum())
    dynamo.reset()


@pytest.mark.parametrize("style", STYLES)
def test_autocast_changes_the_rounding_only_with_and_without_a_cache(style: str) -> None:
    model, tokens = build_model(small(style), seed=1).eval(), some_tokens()
    cache = KeyValueCache(model.shape, batch_size=3)
    with torch.no_grad():
        exact = model(tokens)
        with torch.autocast("cpu", torch.bfloat16):
            whole = model(tokens)
            pieces = [model(tokens[:, :9], cache), model(tokens[:, 9:23], cache), model(tokens[:, 23:], cache)]
    assert whole.dtype == torch.bfloat16
    for found in (whole, torch.cat(pieces, dim=1)):
        assert (found - exact).norm() < 0.02 * exact.norm()


def test_dropout_acts_in_training_only() -> None:
    model, tokens = build_model(small(dropout=0.5), seed=1), some_tokens()
    assert not torch.equal(model.train()(tokens), model(tokens))
    assert torch.equal(model.eval()(tokens), model(tokens))
