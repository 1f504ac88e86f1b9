"""The next token from the logits: pure functions, in the order temperature, top-k, top-p.

That order is the one of Hugging Face transformers, so settings found elsewhere mean the same here. Top-p keeps the
smallest set of likeliest tokens whose probability reaches p (Holtzman et al. 2020), never less than one token; of
equal logits at the border the lower ids stay, so the result does not depend on how a device sorts.

Shapes: B sequences, V vocabulary.
"""

import torch
from torch import Tensor

from trainer.generate.settings import GenerateSettings


def next_tokens(logits_BV: Tensor, settings: GenerateSettings, generator: torch.Generator | None = None) -> Tensor:
    """One token id for each sequence, [B]; `generator` drives the draw, temperature 0 needs none."""
    if settings.temperature == 0:
        return logits_BV.argmax(dim=-1)
    return torch.multinomial(probabilities(logits_BV, settings), 1, generator=generator).squeeze(-1)


def probabilities(logits_BV: Tensor, settings: GenerateSettings) -> Tensor:
    """What `next_tokens` draws from: [B, V] fp32, each row sums to 1."""
    if settings.temperature == 0:
        return torch.nn.functional.one_hot(logits_BV.argmax(dim=-1), logits_BV.shape[-1]).float()
    scaled_BV = logits_BV.float() / settings.temperature
    return keep_top_p(keep_top_k(scaled_BV, settings.top_k), settings.top_p).softmax(dim=-1)


def keep_top_k(logits_BV: Tensor, k: int) -> Tensor:
    """Logits of all but the k likeliest tokens become -inf; k = 0 keeps all."""
    if not 0 < k < logits_BV.shape[-1]:
        return logits_BV
    order_BV = logits_BV.argsort(dim=-1, descending=True, stable=True)
    return logits_BV.scatter(-1, order_BV[..., k:], -torch.inf)


def keep_top_p(logits_BV: Tensor, p: float) -> Tensor:
    """Logits outside the smallest set of likeliest tokens with total probability >= p become -inf."""
    if p >= 1:
        return logits_BV
    sorted_BV, order_BV = logits_BV.sort(dim=-1, descending=True, stable=True)
    shares_BV = sorted_BV.softmax(dim=-1)
    before_BV = shares_BV.cumsum(dim=-1) - shares_BV
    reached_BV = before_BV >= p
    reached_BV[..., 0] = False
    return torch.full_like(logits_BV, -torch.inf).scatter(-1, order_BV, sorted_BV.masked_fill(reached_BV, -torch.inf))
