"""Embedding, logits and loss with a cut vocabulary against torch's embedding, linear and cross-entropy, in fp64."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import backward
from torch.nn import functional

from tests.parallel.launcher import run_ranks
from tests.trainer.parallel.whole_and_cut import Drawn, assert_equal, groups_of, leaf, tokens_of
from trainer.parallel import vocabulary
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.parallel.vocabulary import (
    VocabularyEmbedding,
    token_losses,
    vocabulary_logits,
    vocabulary_range,
    vocabulary_rows,
)
from trainer.ranks import Ranks

VOCABULARIES = (5, 31, 32, 257)
WIDTH = 6


def rows_of(weight: Tensor, vocab: int, tensor: TensorGroup) -> Tensor:
    """A rank's rows of the whole embedding, filled up with zeros."""
    own = vocabulary_range(vocab, tensor)
    filler = weight.new_zeros(vocabulary_rows(vocab, tensor) - len(own), weight.shape[1])
    return torch.cat([weight.detach()[own.start : own.stop], filler])


def wanted_losses(logits: Tensor, targets: Tensor, z_loss: float) -> Tensor:
    losses = functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none", ignore_index=-100)
    normaliser = logits.logsumexp(-1).square().flatten().masked_fill(targets.flatten() < 0, 0.0)
    return (losses + z_loss * normaliser).view(targets.shape)


def check_embedding(ranks: Ranks) -> None:
    for tensor, vocab in product(groups_of(ranks), VOCABULARIES):
        drawn = Drawn(ranks)
        weight, tokens = leaf(drawn.values(vocab, WIDTH)), drawn.integers(0, vocab, 3, 8)
        upstream = drawn.values(3, 8, WIDTH)
        x = functional.embedding(tokens, weight)
        backward(x, upstream)

        embedding = VocabularyEmbedding(vocab, WIDTH, tensor).to(ranks.device, torch.float64)
        embedding.load_state_dict({"weight": rows_of(weight, vocab, tensor)}, strict=True)
        own_x = embedding(tokens)
        backward(own_x, tokens_of(upstream, tensor))
        assert torch.equal(own_x, tokens_of(x, tensor))
        assert weight.grad is not None
        assert_equal(embedding.weight.grad, rows_of(weight.grad, vocab, tensor))


def check_loss(ranks: Ranks) -> None:
    for tensor, (vocab, z_loss, chosen) in product(groups_of(ranks), product(VOCABULARIES, (0.0, 0.3), (False, True))):
        drawn = Drawn(ranks)
        weight, x = leaf(drawn.values(vocab, WIDTH)), leaf(drawn.values(3, 8, WIDTH))
        targets = drawn.integers(0, vocab, 3, 8)
        mask = drawn.values(3, 8) > 0
        targets = torch.where(mask, targets, -100)
        factors = drawn.values(3, 8)
        losses = wanted_losses(functional.linear(x, weight), targets, z_loss)
        backward((losses * factors).sum())

        own_weight, own_x = leaf(rows_of(weight, vocab, tensor)), leaf(tokens_of(x, tensor))
        # What is in the filled-up rows must not matter: they have no token.
        with torch.no_grad():
            own_weight[len(vocabulary_range(vocab, tensor)) :] = 100.0
        logits = vocabulary_logits(own_x, own_weight, tensor, mask if chosen else None)
        if chosen:
            own_losses = token_losses(logits, targets[mask], vocab, tensor, z_loss)
            assert_equal(own_losses, losses[mask])
            backward((own_losses * factors[mask]).sum())
        else:
            own_losses = token_losses(logits, targets, vocab, tensor, z_loss)
            assert_equal(own_losses, losses)
            backward((own_losses * factors).sum())
        assert weight.grad is not None
        assert x.grad is not None
        assert_equal(own_x.grad, tokens_of(x.grad, tensor))
        assert_equal(own_weight.grad, rows_of(weight.grad, vocab, tensor))
        every = [torch.empty_like(own_losses) for _ in range(ranks.world)]
        torch.distributed.all_gather(every, own_losses.detach())
        assert all(torch.equal(every[0], other) for other in every), "all ranks must have the same bits"


def check_extremes(ranks: Ranks) -> None:
    """Logits far from zero neither overflow nor lose the small ones; bfloat16 logits are summed in fp32."""
    tensor = TensorGroup(ranks.rank, ranks.world)
    whole = Drawn(ranks).values(4, 8).mul(3e4)
    targets = whole.argmin(-1)
    own = vocabulary_range(8, tensor)
    losses = token_losses(whole[:, own.start : own.stop], targets, 8, tensor)
    assert_equal(losses, functional.cross_entropy(whole, targets, reduction="none"))
    logits = Drawn(ranks).values(4, 8).bfloat16()
    local = leaf(logits[:, own.start : own.stop])
    losses = token_losses(local, targets, 8, tensor)
    backward(losses.sum())
    reference = leaf(logits.float())
    wanted = functional.cross_entropy(reference, targets, reduction="none")
    backward(wanted.sum())
    assert_equal(losses, wanted, to=1e-6)
    assert local.grad is not None
    assert reference.grad is not None
    assert_equal(local.grad.float(), reference.grad[:, own.start : own.stop], to=4e-3)


def check_tied(ranks: Ranks) -> None:
    """One matrix as embedding and output gets the sum of both gradients."""
    vocab = 31
    for tensor in groups_of(ranks):
        drawn = Drawn(ranks)
        weight, tokens, targets = (
            leaf(drawn.values(vocab, WIDTH)),
            drawn.integers(0, vocab, 3, 8),
            drawn.integers(0, vocab, 3, 8),
        )
        x = functional.embedding(tokens, weight).tanh()
        backward(wanted_losses(functional.linear(x, weight), targets, 0.0).sum())
        embedding = VocabularyEmbedding(vocab, WIDTH, tensor).to(ranks.device, torch.float64)
        embedding.load_state_dict({"weight": rows_of(weight, vocab, tensor)})
        logits = vocabulary_logits(embedding(tokens).tanh(), embedding.weight, tensor)
        backward(token_losses(logits, targets, vocab, tensor).sum())
        assert weight.grad is not None
        assert_equal(embedding.weight.grad, rows_of(weight.grad, vocab, tensor))


@pytest.mark.parametrize("size", [2, 4])
def test_embedding_equals_the_whole_one(size: int) -> None:
    run_ranks(size, check_embedding)


@pytest.mark.parametrize("size", [2, 4])
def test_logits_and_loss_equal_the_whole_ones(size: int) -> None:
    run_ranks(size, check_loss)


@pytest.mark.parametrize("check", [check_extremes, check_tied])
def test_loss_with(check: object) -> None:
    run_ranks(2, check)  # type: ignore[arg-type]


@given(st.integers(1, 300), st.integers(1, 64))
def test_every_token_has_one_owner_and_all_parts_one_size(vocab: int, size: int) -> None:
    ranges = [vocabulary_range(vocab, TensorGroup(rank, size)) for rank in range(size)]
    assert [token for own in ranges for token in own] == list(range(vocab))
    assert all(len(own) <= vocabulary_rows(vocab, TensorGroup(0, size)) for own in ranges)


@given(rows=st.integers(0, 20), vocab=st.integers(1, 40), z_loss=st.sampled_from([0.0, 1e-4, 0.5]), seed=st.integers())
@settings(max_examples=40)
def test_alone_the_loss_is_cross_entropy_and_the_z_loss(rows: int, vocab: int, z_loss: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed % 2**32)
    logits = leaf(torch.randn(rows, vocab, dtype=torch.float64, generator=generator))
    reference = leaf(logits)
    targets = torch.randint(-2, vocab, (rows,), generator=generator)
    found = token_losses(logits, targets, vocab, ALONE, z_loss)
    wanted = wanted_losses(reference, targets.where(targets >= 0, -100), z_loss)
    assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)
    backward(found.sum())
    backward(wanted.sum())
    assert logits.grad is not None
    assert reference.grad is not None
    assert torch.allclose(logits.grad, reference.grad, rtol=1e-12, atol=1e-12)


def test_what_is_not_of_the_vocabulary_is_refused() -> None:
    with pytest.raises(RuntimeError, match="not below the vocabulary's 7"):
        token_losses(torch.zeros(2, 7), torch.tensor([6, 7]), 7)
    with pytest.raises(RuntimeError, match="not below the vocabulary's 7"):
        VocabularyEmbedding(7, WIDTH, TensorGroup(0, 2))(torch.tensor([[6, 7]]))
    with pytest.raises(ValueError, match="7 logits a token, a vocabulary of 15 has 8 on each of 2 processes"):
        token_losses(torch.zeros(2, 7), torch.tensor([6, 7]), 15, TensorGroup(0, 2))


def test_the_pieces_of_work_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    values, targets = torch.randn(50, 7), torch.randint(-1, 7, (50,))
    results = []
    for piece in (7, 100, 1 << 18):
        monkeypatch.setitem(vocabulary._PIECE, "cpu", piece)
        logits = leaf(values)
        losses = token_losses(logits, targets, 7, ALONE, 0.1)
        backward(losses.sum())
        assert logits.grad is not None
        results.append((losses.detach(), logits.grad))
    for losses, gradient in results[1:]:
        assert torch.equal(losses, results[0][0])
        assert torch.equal(gradient, results[0][1])
