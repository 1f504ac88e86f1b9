"""Gopher's quality rules: is this running text in a language that writes words with spaces?

Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
appendix A1.1 (https://arxiv.org/abs/2112.11446), in the reading of datatrove's GopherQualityFilter, which
FineWeb was made with:

- words are tokens that are not punctuation; their number and mean length are bounded;
- `#` and ellipses (`...`, `…`) are counted in the text and divided by the number of all tokens, punctuation
  included;
- lines are those of `str.splitlines`; bullets are `•` and `-`;
- the share of words with a letter is also taken of all tokens;
- stop words are compared as written, case included, and counted once each.

Decisions: words are those of `pipeline.filters.words`. A rule's name is the name of its field, so that a drop
log names the key to change. Values of nothing (no words, no lines) are 0. The rules assume words between
spaces: Chinese, Japanese and Thai pages fail `mean_word_length_max` or `words_min`, and the default stop
words are English; for other languages give `stop_words`, or set the rules that do not fit to null.

Cost: about 10 MB a CPU-second, most of it splitting words.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.filters.words import split_tokens
from pipeline.stage import DocumentStage, Drops, Outcome, Position


class QualityStatistics(NamedTuple):
    """What the rules look at, for one document."""

    words: int
    """Tokens that are words."""
    mean_word_length: float
    """Characters per word."""
    hash_ratio: float
    """`#` characters per token."""
    ellipsis_ratio: float
    """`...` and `…` per token."""
    bullet_lines: float
    """Share of lines that start with a bullet."""
    ellipsis_lines: float
    """Share of lines that end with an ellipsis."""
    alphabetic_words: float
    """Words with at least one letter per token."""
    stop_words: int
    """Different stop words in the text."""


def quality_statistics(text: str, stop_words: frozenset[str]) -> QualityStatistics:
    """Measure one document."""
    tokens = split_tokens(text)
    words = [token for token in tokens if token[0].isalnum()]
    lines = text.splitlines()
    ellipses = text.count("...") + text.count("…")
    bullet_lines = sum(line.lstrip().startswith(("•", "-")) for line in lines)
    ellipsis_lines = sum(line.rstrip().endswith(("...", "…")) for line in lines) if ellipses else 0
    return QualityStatistics(
        words=len(words),
        mean_word_length=_ratio(sum(map(len, words)), len(words)),
        hash_ratio=_ratio(text.count("#"), len(tokens)),
        ellipsis_ratio=_ratio(ellipses, len(tokens)),
        bullet_lines=_ratio(bullet_lines, len(lines)),
        ellipsis_lines=_ratio(ellipsis_lines, len(lines)),
        alphabetic_words=_ratio(_with_a_letter(words), len(tokens)),
        stop_words=len(stop_words.intersection(words)),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _with_a_letter(words: list[str]) -> int:
    # Nearly all words are letters only, which one call tells; only the others are looked at in detail.
    mixed = [word for word in words if not word.isalpha()]
    return len(words) - len(mixed) + sum(any(map(str.isalpha, word)) for word in mixed)


class GopherQuality(DocumentStage):
    """Drop what is not running text: too few words, symbols, bullets, cut-off lines, no stop words."""

    name: ClassVar[str] = "gopher_quality"

    words_min: int | None = Field(default=50, ge=0)
    """Fewest words; null turns the rule off. Gopher: 50."""
    words_max: int | None = Field(default=100_000, ge=0)
    """Most words; null turns the rule off. Gopher: 100,000."""
    mean_word_length_min: float | None = Field(default=3.0, ge=0)
    """Smallest mean length of words, characters; null turns the rule off. Gopher: 3."""
    mean_word_length_max: float | None = Field(default=10.0, ge=0)
    """Largest mean length of words, characters; null turns the rule off. Gopher: 10."""
    hash_ratio_max: float | None = Field(default=0.1, ge=0)
    """Most `#` per token; null turns the rule off. Gopher: 0.1."""
    ellipsis_ratio_max: float | None = Field(default=0.1, ge=0)
    """Most ellipses per token; null turns the rule off. Gopher: 0.1."""
    bullet_lines_max: float | None = Field(default=0.9, ge=0)
    """Largest share of lines that start with a bullet; null turns the rule off. Gopher: 0.9."""
    ellipsis_lines_max: float | None = Field(default=0.3, ge=0)
    """Largest share of lines that end with an ellipsis; null turns the rule off. Gopher: 0.3."""
    alphabetic_words_min: float | None = Field(default=0.8, ge=0)
    """Smallest number of words with a letter per token; null turns the rule off. Gopher: 0.8."""
    stop_words_min: int | None = Field(default=2, ge=0)
    """Fewest different stop words; null turns the rule off. Gopher: 2."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """The stop words, compared as written. Gopher's eight English words."""

    _RULES: ClassVar[tuple[tuple[str, str, bool], ...]] = (
        ("words_min", "words", True),
        ("words_max", "words", False),
        ("mean_word_length_min", "mean_word_length", True),
        ("mean_word_length_max", "mean_word_length", False),
        ("hash_ratio_max", "hash_ratio", False),
        ("ellipsis_ratio_max", "ellipsis_ratio", False),
        ("bullet_lines_max", "bullet_lines", False),
        ("ellipsis_lines_max", "ellipsis_lines", False),
        ("alphabetic_words_min", "alphabetic_words", True),
        ("stop_words_min", "stop_words", True),
    )
    """Rule, statistic, and whether the threshold is the smallest allowed value; in datatrove's order."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> GopherQuality:
        for low, high in (("words_min", "words_max"), ("mean_word_length_min", "mean_word_length_max")):
            lowest, highest = getattr(self, low), getattr(self, high)
            if lowest is not None and highest is not None and lowest > highest:
                raise ValueError(f"{low} {lowest} is above {high} {highest}: no document can pass")
        return self

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Drop what breaks a rule; the first broken one is the reason."""
        drops = Drops()
        stop_words = frozenset(self.stop_words)
        for row, text in enumerate(documents["text"].to_pylist()):
            broken = self._first_broken(quality_statistics(text, stop_words))
            if broken:
                drops.add(row, *broken)
        return Outcome(documents, drops)

    def _first_broken(self, statistics: QualityStatistics) -> tuple[str, float, float] | None:
        for rule, statistic, is_minimum in self._RULES:
            threshold = getattr(self, rule)
            if threshold is None:
                continue
            value = getattr(statistics, statistic)
            if (value < threshold) if is_minimum else (value > threshold):
                return rule, value, threshold
        return None
