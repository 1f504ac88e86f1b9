"""Finds texts of evaluation sets in documents by common n-grams; drops, cleans or labels those documents.

    judging.py    what becomes of a document that holds n-grams of the sets
    survey.py     which n-grams are in too many documents of the corpus to mean anything
    stage.py      the two as one stage of a recipe: a barrier only where `max_documents` is set

Decisions: an n-gram is ignored when it is in more than `max_items` items of the evaluation sets, and, where
`max_documents` is set, in more documents of the corpus: GPT-3's rule, which needs a survey and spares a question that
was copied often.
"""

from __future__ import annotations

from typing import ClassVar

from pipeline.decontamination.index import NgramIndex
from pipeline.decontamination.judging import NgramDecontamination
from pipeline.decontamination.sets import items_of
from pipeline.decontamination.survey import CountNgrams
from pipeline.dedup.costs import amount, cpu_hours, shards_of
from pipeline.errors import UserError
from pipeline.stage import SurveyStage

MEGABYTES_A_SECOND = 35.0
"""Text in one CPU-second: `bench.decontamination`."""
NGRAM_BYTES = 90
"""Memory of a worker for each n-gram of the sets."""


class Decontaminate(NgramDecontamination):
    """Take out what documents share with evaluation sets: n-grams of words, 13 as in GPT-3."""

    name: ClassVar[str] = "decontaminate"

    def barrier(self) -> SurveyStage | None:
        """The survey that counts the documents of each n-gram, where `max_documents` asks for it."""
        if self.max_documents is None:
            return None
        return CountNgrams(decontaminate=self)

    def ngrams(self) -> NgramIndex:
        """The n-grams that are looked for, where all are."""
        if self.max_documents is not None:
            raise UserError("decontaminate: max_documents needs the survey of a corpus before documents are judged")
        return self.all_ngrams()

    def plan_lines(self, text_bytes: int, shards: int | None = None) -> list[str]:
        """What the stage will take for so much text; reads the sets."""
        words = sum(
            # Scripts without spaces, whose characters are words, all lie from Thai on.
            len(passage.split()) + sum(character >= "\u0e00" for character in passage)
            for name, entry in self.sets.items()
            for passages in items_of(name, entry)
            for passage in passages
        )
        memory = amount(words * NGRAM_BYTES)
        line = f"at most {words:,} n-grams of the sets: {memory} of memory a worker; "
        line += f"{cpu_hours(text_bytes, MEGABYTES_A_SECOND)} CPU-hours"
        if self.max_documents is not None:
            files = (shards or shards_of(text_bytes)) + 1
            line += f", and as many for counting their documents, in {files:,} files of at most {memory}"
        return [line]
