"""The distribution that tokens are drawn from."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainer.generate.sampling import keep_top_k, keep_top_p, next_tokens, probabilities
from trainer.generate.settings import GenerateSettings

VOCABULARY = 12


def random_logits(seed: int) -> Tensor:
    return torch.randn(3, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


def test_temperature_divides_the_logits() -> None:
    logits = random_logits(0)
    drawn = probabilities(logits, GenerateSettings(temperature=0.5, top_k=0, top_p=1.0))
    torch.testing.assert_close(drawn, (logits / 0.5).softmax(-1))


def test_temperature_zero_takes_the_likeliest_token() -> None:
    logits = random_logits(1)
    assert torch.equal(next_tokens(logits, GenerateSettings(temperature=0)), logits.argmax(-1))


@given(st.integers(0, 1000), st.integers(1, VOCABULARY + 3))
def test_top_k_keeps_exactly_the_k_likeliest(seed: int, k: int) -> None:
    logits = random_logits(seed)
    kept = keep_top_k(logits, k).isfinite()
    assert (kept.sum(-1) == min(k, VOCABULARY)).all()
    for row, mask in zip(logits, kept, strict=True):
        assert row[mask].min() >= row[~mask].max() if (~mask).any() else True


def test_of_equal_logits_top_k_keeps_the_lower_ids() -> None:
    assert keep_top_k(torch.zeros(1, 5), 2).isfinite().tolist() == [[True, True, False, False, False]]


@given(st.integers(0, 1000), st.floats(0.01, 0.999))
def test_top_p_keeps_the_smallest_set_that_reaches_p(seed: int, p: float) -> None:
    logits = random_logits(seed)
    for row, mask in zip(logits.softmax(-1), keep_top_p(logits, p).isfinite(), strict=True):
        kept = row[mask]
        assert kept.sum() >= p - 1e-5
        assert kept.sum() - kept.min() < p + 1e-5
        assert row[~mask].max() <= kept.min() if (~mask).any() else True


def test_top_p_never_removes_the_likeliest_token() -> None:
    assert keep_top_p(torch.tensor([[9.0, 1.0]]), 1e-9).isfinite().tolist() == [[True, False]]


@given(st.integers(0, 1000))
def test_kept_logits_are_not_changed(seed: int) -> None:
    logits = random_logits(seed)
    for filtered in (keep_top_k(logits, 4), keep_top_p(logits, 0.7)):
        assert torch.equal(filtered[filtered.isfinite()], logits[filtered.isfinite()])


def test_the_draws_follow_the_distribution() -> None:
    settings = GenerateSettings(temperature=1.3, top_k=6, top_p=0.9)
    logits = random_logits(7)[:1]
    expected = probabilities(logits, settings)[0]
    draws = 20_000
    drawn = next_tokens(logits.expand(draws, -1), settings, torch.Generator().manual_seed(3))
    counts = torch.bincount(drawn, minlength=VOCABULARY)
    assert counts[expected == 0].sum() == 0
    kept = expected > 0
    chi_square = ((counts[kept] - draws * expected[kept]) ** 2 / (draws * expected[kept])).sum()
    assert chi_square < 22.5  # 99.9 % quantile for 6 degrees of freedom; at most 5 here


def test_the_same_seed_draws_the_same_tokens() -> None:
    logits, settings = random_logits(2), GenerateSettings()
    first = [next_tokens(logits, settings, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*first)


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"max_new_tokens": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GenerateSettings.model_validate(wrong)
