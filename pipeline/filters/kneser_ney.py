"""Estimates an n-gram model with modified Kneser-Ney smoothing, whole arrays at a time.

Chen and Goodman (1998), "An Empirical Study of Smoothing Techniques for Language Modeling", section 3: interpolated,
three discounts an order from the counts of counts; orders below the highest count in how many contexts an n-gram was
seen, except n-grams at the start of a document, which keep their plain counts (as lmplz does). Unigrams are
interpolated with the uniform distribution, so every token has a probability. Nothing is pruned.

An order without enough n-grams for its discounts (tiny or artificial corpora) takes 0.5, 1.0 and 1.5, like
`lmplz --discount_fallback`.

Cost: about 250,000 tokens a CPU-second at order 5, and half a kilobyte of memory a token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.filters.ngram_model import NgramModel, Order

_FALLBACK_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])


@dataclass
class _Ngrams:
    """The distinct n-grams of one order and how they hang together with the order below."""

    keys: np.ndarray
    """int64, ascending: index of the first n-1 tokens in the order below x vocabulary + last token."""
    suffix: np.ndarray
    """Index of the last n-1 tokens in the order below."""
    counts: np.ndarray
    """How often each occurs."""
    at_start: np.ndarray
    """Whether its first token is the start of a document."""


def estimate(tokens: np.ndarray, order: int, vocabulary: int, start: int) -> NgramModel:
    """The model of a token sequence.

    Args:
        tokens: int64[n]; each document begins with the token `start`, which occurs nowhere else.
        order: Length of the longest n-gram, at least 2.
        vocabulary: Number of token ids, `start` included; `vocabulary * n` must stay below 2^63.
        start: The token that begins documents; it is never predicted.
    """
    levels = _count(tokens, order, vocabulary, start)
    adjusted = [_adjusted_counts(level, above) for level, above in zip(levels, [*levels[1:], None], strict=True)]
    adjusted[0][start] = 0
    uniform = 1.0 / (vocabulary - 1)
    below = np.full(vocabulary, uniform)
    probabilities: list[np.ndarray] = []
    backoffs: list[np.ndarray] = []
    for place, (level, counts) in enumerate(zip(levels, adjusted, strict=True)):
        discounts = _discounts(counts)
        context = level.keys // vocabulary if place else np.zeros(vocabulary, np.int64)
        contexts = len(levels[place - 1].keys) if place else 1
        total = np.bincount(context, counts, contexts)
        discount = discounts[np.minimum(counts, 3)]
        reserved = np.bincount(context, discount, contexts)
        # A context that was never followed by anything hands all its mass down.
        weight = np.divide(reserved, total, out=np.ones(contexts), where=total > 0)
        lower = below[level.suffix] if place else below
        share = np.divide(counts - discount, total[context], out=np.zeros(len(counts)), where=total[context] > 0)
        below = share + weight[context] * lower
        if place == 0:
            below[start] = 0.0
        else:
            backoffs.append(np.log(weight))
        probabilities.append(below)
    backoffs.append(np.zeros(len(levels[-1].keys)))
    with np.errstate(divide="ignore"):
        orders = [
            Order(level.keys, np.log(probability), backoff)
            for level, probability, backoff in zip(levels, probabilities, backoffs, strict=True)
        ]
    return NgramModel(vocabulary, start, orders)


def _count(tokens: np.ndarray, order: int, vocabulary: int, start: int) -> list[_Ngrams]:
    """The distinct n-grams of each order; unigrams are the whole vocabulary."""
    unigrams = np.arange(vocabulary)
    levels = [
        _Ngrams(unigrams, np.zeros(vocabulary, np.int64), np.bincount(tokens, minlength=vocabulary), unigrams == start)
    ]
    # index[i] is the place of the n-gram that ends at ends[i] in its order; n-grams do not cross documents.
    ends, index = np.arange(len(tokens)), tokens.astype(np.int64)
    for _ in range(1, order):
        place_of_end = np.full(len(tokens), -1, np.int64)
        place_of_end[ends] = index
        inner = ends[(ends > 0) & (tokens[ends] != start)]
        inner = inner[place_of_end[inner - 1] >= 0]
        prefix = place_of_end[inner - 1]
        keys, first, index, counts = np.unique(
            prefix * vocabulary + tokens[inner], return_index=True, return_inverse=True, return_counts=True
        )
        levels.append(_Ngrams(keys, place_of_end[inner[first]], counts, levels[-1].at_start[prefix[first]]))
        ends = inner
    return levels


def _adjusted_counts(level: _Ngrams, above: _Ngrams | None) -> np.ndarray:
    """Plain counts for the highest order and at the start of documents, else the number of distinct left neighbours."""
    if above is None:
        return level.counts.copy()
    return np.where(level.at_start, level.counts, np.bincount(above.suffix, minlength=len(level.keys)))


def _discounts(counts: np.ndarray) -> np.ndarray:
    """What to subtract from counts of 0, 1, 2 and 3 or more: float64[4]."""
    once, twice, thrice, four_times = (float((counts == value).sum()) for value in (1, 2, 3, 4))
    if min(once, twice, thrice, four_times) == 0:
        return _FALLBACK_DISCOUNTS
    share = once / (once + 2 * twice)
    discounts = np.array(
        [0.0, 1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four_times / thrice]
    )
    return discounts if ((discounts >= 0) & (discounts <= np.arange(4))).all() else _FALLBACK_DISCOUNTS
