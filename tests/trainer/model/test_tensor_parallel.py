"""The parts of a model on several processes compute what the whole model does: losses and every gradient, in fp64."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.parallel.launcher import run_ranks
from tests.trainer.model.styles import CONTEXT, STYLES, small, some_tokens
from tests.trainer.parallel.whole_and_cut import assert_equal, groups_of
from trainer.model.declaration import declare_parameters
from trainer.model.gpt import GPT, Embedding, run_block
from trainer.model.init import build_model
from trainer.model.rows import RowContext
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.parallel.vocabulary import token_losses
from trainer.ranks import Ranks


def contexts() -> Iterator[RowContext]:
    yield RowContext()
    places = torch.arange(CONTEXT)
    segments = torch.stack([(places >= 9).int(), (places >= 20).int() + (places >= 3).int()])
    yield RowContext(segments, torch.tensor([5, 0], dtype=torch.int32))


def losses_and_gradients(model: GPT, context: RowContext, chosen: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
    tokens = some_tokens(batch=2, tokens=CONTEXT + 1)
    targets = tokens[:, 1:] if chosen is None else tokens[:, 1:][chosen]
    logits = model(tokens[:, :-1], chosen_BT=chosen, context=context)
    losses = token_losses(logits, targets, model.shape.vocab_size, model.tensor, z_loss=0.01)
    parameters = dict(model.named_parameters())
    weighed = losses * torch.linspace(0.5, 2.0, losses.numel()).view_as(losses)
    gradients = torch.autograd.grad(weighed.sum(), list(parameters.values()))
    return losses.detach(), dict(zip(parameters, gradients, strict=True))


def built(style: str, tensor: TensorGroup) -> GPT:
    model = build_model(small(style, initial_std=0.3), seed=1, tensor=tensor)
    with torch.no_grad():  # as they begin, norms are all ones and biases zeros
        for item in declare_parameters(model.shape):
            if item.initial != "normal":
                value = torch.linspace(0.5, 1.5, item.size).view(item.shape)
                model.get_parameter(item.name).copy_(item.local(value, tensor.rank, tensor.size))
    return model.double().train()


def compare(ranks: Ranks, styles: list[str]) -> int:
    chosen = (torch.arange(2 * CONTEXT) % 5 > 1).view(2, CONTEXT)
    compared = 0
    for style in styles:
        whole = built(style, ALONE)
        for tensor in groups_of(ranks):
            part = built(style, tensor)
            for context in contexts():
                for mask in (None, chosen):
                    part.checkpointed = mask is not None
                    wanted, wanted_gradients = losses_and_gradients(whole, context, mask)
                    found, gradients = losses_and_gradients(part, context, mask)
                    assert_equal(found, wanted, to=1e-11)
                    for item in declare_parameters(whole.shape):
                        expected = item.local(wanted_gradients[item.name], tensor.rank, tensor.size)
                        assert_equal(gradients[item.name], expected, to=1e-11)
                        compared += 1
    return compared


def test_two_processes_compute_the_losses_and_gradients_of_one_for_every_style() -> None:
    assert min(run_ranks(2, compare, list(STYLES))) > 1000


def test_four_processes_do_too() -> None:
    assert min(run_ranks(4, compare, ["gpt2", "alibi"])) > 300


def drop(ranks: Ranks) -> list[tuple[Tensor, Tensor]]:
    """The embedding's output and the stream after a block, with dropout; without and with sequence parallelism."""
    seen = []
    for tensor in groups_of(ranks):
        model = build_model(small(dropout=0.3), 1, tensor).train()
        torch.manual_seed(3)
        embedding = Embedding(model.shape, tensor).train()
        embedding.load_state_dict({"token_embedding.weight": model.get_parameter("token_embedding.weight")})
        embedded_BTD = embedding(some_tokens(batch=2))
        seen.append((embedded_BTD.detach(), run_block(model.blocks[0], embedded_BTD, RowContext()).detach()))
        gradients = []
        for checkpointed in (False, True):
            model.checkpointed = checkpointed
            torch.manual_seed(4)
            gradients.append(losses_and_gradients(model, RowContext(), None)[1])
        assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])
    return seen


def test_what_all_have_alike_is_dropped_alike_and_each_ones_tokens_are_not() -> None:
    (whole, parts), (whole_of_other, parts_of_other) = run_ranks(2, drop)
    assert torch.equal(whole[0], whole_of_other[0])
    assert torch.equal(whole[1], whole_of_other[1])
    assert (whole[0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert not torch.equal(parts[0] == 0, parts_of_other[0] == 0)
