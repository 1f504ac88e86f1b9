"""Span deduplication: of a run of sentences that occurs more than once in the corpus, only the first one stays.

Source: C4 (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 2.2): "we discarded all but one of any
three-sentence span occurring more than once in the data set". As in datatrove's `SentenceDedup`, spans overlap, and a
sentence goes when any span with it goes; so the first occurrence of every sentence stays.

Decisions: sentences are those of `pipeline.kernels.words.count_sentences`, by default between words of any language.

Cost: see `pipeline.dedup.passages`; splitting sentences takes about half of it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.dedup.passage_removal import PassageDedup, RemovePassages
from pipeline.dedup.passages import Passages


class SpanDedup(PassageDedup):
    """Cut out runs of sentences (or lines) that occurred before in the corpus."""

    name = "span_dedup"
    disk_share = 0.2
    megabytes_a_second = 10.0

    unit: Literal["sentence", "line"] = "sentence"
    """What spans are made of: sentences, or what lies between line breaks."""
    units: int = Field(default=3, ge=1, le=100)
    """Consecutive sentences or lines of a span; documents with fewer are left alone. C4: 3."""
    words: Literal["english", "unicode"] = "unicode"
    """How text is split to find sentences: `english` as spaCy and datatrove do, `unicode` by the script."""
    characters_min: int = Field(default=1, ge=1)
    """Spans with fewer characters are left alone. C4: 1."""

    def passages(self) -> Passages:
        """So many consecutive units a passage."""
        return Passages(
            unit=self.unit,
            run=self.units,
            words=self.words,
            ignore=self.ignore,
            characters_min=self.characters_min,
            within_documents=self.within_documents,
        )

    def removal(self) -> type[RemovePassages]:
        """Applies what was found."""
        return RemoveSpans


class RemoveSpans(RemovePassages):
    """Applies what `span_dedup` found."""

    name = "span_dedup"
