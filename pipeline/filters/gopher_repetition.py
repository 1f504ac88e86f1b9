"""Gopher's repetition rules: how much of a document says the same thing again?

Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", table
A1 (https://arxiv.org/abs/2112.11446), in the reading of datatrove's GopherRepetitionFilter, which FineWeb was
made with. All shares are of the characters of the text, white space included, except the two that count lines
and paragraphs:

- paragraphs are split at two or more line feeds (after stripping the text), lines at one or more; each
  occurrence after the first is a duplicate;
- top n-grams: occurrences of the most frequent n-gram times its length, joined with spaces; of equally
  frequent ones the first in the text; an n-gram that occurs only once counts too, so texts below some 130
  characters always break one of these rules (put `gopher_quality` with its `words_min` first to have the true
  reason logged);
- duplicate n-grams: from left to right, an n-gram seen before counts with its length, joined without spaces,
  and is jumped over; others are remembered.

Decisions: tokens are those of `pipeline.filters.words`, punctuation included, as in datatrove. A rule's name
is the name of its field. N-grams are Python strings, never hashes, so figures are exact. The n-gram rules
need words between spaces: in Chinese, Japanese and Thai an n-gram spans n phrases, and they find less.

Cost: about 2.5 MB a CPU-second. A bound that is cheap to compute spares most documents the exact count (see
`NGrams.duplicate_characters`). Memory is some 100 bytes a word of the longest document.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from pipeline.filters.words import split_tokens
from pipeline.stage import DocumentStage, Drops, Outcome, Position

_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")

_TOP_SIZES = (2, 3, 4)
_DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)


def duplicates(parts: Sequence[str]) -> tuple[int, int]:
    """How many of the parts occurred before, and how many characters those have."""
    distinct = set(parts)
    if len(distinct) == len(parts):
        return 0, 0
    return len(parts) - len(distinct), sum(map(len, parts)) - sum(map(len, distinct))


class NGrams:
    """The n-grams of one document."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._joined = "".join(tokens)
        self._starts = list(accumulate(map(len, tokens), initial=0))
        """Where each token starts in the joined text, and its end."""

    def top_characters(self, size: int) -> int:
        """Characters in all occurrences of the most frequent n-gram, joined with spaces; 0 without any."""
        if len(self._tokens) < size:
            return 0
        counts = Counter(zip(*(self._tokens[offset:] for offset in range(size)), strict=False))
        # `max` takes the first of equals, and a Counter keeps the order of the text.
        n_gram, count = max(counts.items(), key=lambda entry: entry[1])
        return (sum(map(len, n_gram)) + size - 1) * count

    def duplicate_characters(self, size: int, at_least: float = 0.0) -> int:
        """Characters in repeated n-grams that do not overlap, joined without spaces.

        With `at_least`, any number not above it may be returned as 0: the n-grams are first put into a set,
        and the characters of all occurrences after the first, overlapping ones included, are an upper bound.
        """
        starts = self._starts
        n_grams = [self._joined[start:end] for start, end in zip(starts, starts[size:], strict=False)]
        _, bound = duplicates(n_grams)
        if bound <= at_least:
            return 0
        seen: set[str] = set()
        characters = 0
        index = 0
        while index < len(n_grams):
            n_gram = n_grams[index]
            if n_gram in seen:
                characters += len(n_gram)
                index += size
            else:
                seen.add(n_gram)
                index += 1
        return characters


class GopherRepetition(DocumentStage):
    """Drop documents that repeat themselves: lines, paragraphs, n-grams."""

    name: ClassVar[str] = "gopher_repetition"

    duplicate_paragraphs: float | None = Field(default=0.30, ge=0)
    """Largest share of paragraphs that occurred before; null turns the rule off. Gopher: 0.30."""
    duplicate_paragraph_characters: float | None = Field(default=0.20, ge=0)
    """Largest share of characters in such paragraphs; null turns the rule off. Gopher: 0.20."""
    duplicate_lines: float | None = Field(default=0.30, ge=0)
    """Largest share of lines that occurred before; null turns the rule off. Gopher: 0.30."""
    duplicate_line_characters: float | None = Field(default=0.20, ge=0)
    """Largest share of characters in such lines; null turns the rule off. Gopher: 0.20."""
    top_2_gram_characters: float | None = Field(default=0.20, ge=0)
    """Largest share of characters in the most frequent 2-gram; null turns the rule off. Gopher: 0.20."""
    top_3_gram_characters: float | None = Field(default=0.18, ge=0)
    """Largest share of characters in the most frequent 3-gram; null turns the rule off. Gopher: 0.18."""
    top_4_gram_characters: float | None = Field(default=0.16, ge=0)
    """Largest share of characters in the most frequent 4-gram; null turns the rule off. Gopher: 0.16."""
    duplicate_5_gram_characters: float | None = Field(default=0.15, ge=0)
    """Largest share of characters in repeated 5-grams; null turns the rule off. Gopher: 0.15."""
    duplicate_6_gram_characters: float | None = Field(default=0.14, ge=0)
    """Largest share of characters in repeated 6-grams; null turns the rule off. Gopher: 0.14."""
    duplicate_7_gram_characters: float | None = Field(default=0.13, ge=0)
    """Largest share of characters in repeated 7-grams; null turns the rule off. Gopher: 0.13."""
    duplicate_8_gram_characters: float | None = Field(default=0.12, ge=0)
    """Largest share of characters in repeated 8-grams; null turns the rule off. Gopher: 0.12."""
    duplicate_9_gram_characters: float | None = Field(default=0.11, ge=0)
    """Largest share of characters in repeated 9-grams; null turns the rule off. Gopher: 0.11."""
    duplicate_10_gram_characters: float | None = Field(default=0.10, ge=0)
    """Largest share of characters in repeated 10-grams; null turns the rule off. Gopher: 0.10."""

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Drop what breaks a rule; the first broken one is the reason."""
        drops = Drops()
        for row, text in enumerate(documents["text"].to_pylist()):
            broken = self._first_broken(text) if text else None
            if broken:
                drops.add(row, *broken)
        return Outcome(documents, drops)

    def _first_broken(self, text: str) -> tuple[str, float, float] | None:
        """Rule, value and threshold of the first broken rule, in datatrove's order: cheap ones first."""
        for kind, parts in (
            ("paragraph", _PARAGRAPH_BREAK.split(text.strip())),
            ("line", _LINE_BREAK.split(text)),
        ):
            count, characters = duplicates(parts)
            shares = (
                (f"duplicate_{kind}s", count / len(parts)),
                (f"duplicate_{kind}_characters", characters / len(text)),
            )
            for rule, share in shares:
                threshold = getattr(self, rule)
                if threshold is not None and share > threshold:
                    return rule, share, threshold
        return self._first_broken_n_gram(text)

    def _first_broken_n_gram(self, text: str) -> tuple[str, float, float] | None:
        n_grams = NGrams(split_tokens(text))
        for size in _TOP_SIZES:
            rule = f"top_{size}_gram_characters"
            threshold = getattr(self, rule)
            if threshold is not None and (share := n_grams.top_characters(size) / len(text)) > threshold:
                return rule, share, threshold
        for size in _DUPLICATE_SIZES:
            rule = f"duplicate_{size}_gram_characters"
            threshold = getattr(self, rule)
            if threshold is None:
                continue
            share = n_grams.duplicate_characters(size, at_least=threshold * len(text)) / len(text)
            if share > threshold:
                return rule, share, threshold
        return None
