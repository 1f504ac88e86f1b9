"""The stages' common half: the settings of passage deduplication, and the stage that cuts passages out.

Decisions: documents that lose nothing stay as they are, to the byte. Those that do are judged by what is left: a rest
of a few words is no document. What the drop log shows is the document before it was cut, and as the kept one the
document in which most of what it lost stays. Ids are looked up for those few alone, and only where the corpus lies on
a disk: of an object store each would cost a shard.

Cost: 100 MB of text a CPU-second where something is cut out of the shard (lines), nothing where nothing is.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import storage
from pipeline.dedup.costs import plan_line
from pipeline.dedup.cutting import CuttingStage
from pipeline.dedup.folding import Ignorable
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.passages import KERNELS, Passages, find_copies, places, read_removals
from pipeline.shard import StageDirectory, fingerprint
from pipeline.stage import DocumentStage, Outcome, Position, Runner, SurveyStage, code_version

REDUCER_SHARE = 1.1
"""Memory of a reducer for each byte of text of its partition: lines, the larger ones."""
_NOWHERE = -1
"""Instead of a kept document: the first occurrence goes as well."""


class PassageDedup(SurveyStage):
    """Settings and survey of a stage that cuts out passages seen before."""

    version = 2
    kernels: ClassVar[tuple[str, ...]] = (*KERNELS, "passage_cuts")

    min_copies: int = Field(default=2, ge=2)
    """Occurrences in the corpus from which a passage is cut out. CCNet and C4: 2; Llama 3: 7, with `keep: none`."""
    keep: Literal["first", "none"] = "first"
    """Whether the first occurrence in corpus order stays."""
    within_documents: bool = True
    """Also cut out what a document itself repeats; false leaves refrains and tables alone, and counts documents."""
    ignore: tuple[Ignorable, ...] = ("case", "accents", "punctuation")
    """What makes no difference, besides white space: `case`, `accents`, `punctuation`, `digits`. CCNet: all four, which
    makes lines equal that differ in nothing but their figures."""
    left_characters_min: int = Field(default=100, ge=1)
    """A document of which something was cut out is dropped when fewer characters are left. Ours."""
    partition_bytes: int = Field(default=1 << 30, ge=1)
    """Bytes of text whose passages one reducer handles: it needs up to twice as much memory. Changes no result."""

    disk_share: ClassVar[float]
    """Bytes of the hashes on disk for each byte of text."""
    megabytes_a_second: ClassVar[float]
    """Text in one CPU-second, survey and applying together."""

    def plan_lines(self, text_bytes: int, shards: int | None = None) -> list[str]:
        """What the stage will take for so much text."""
        figures = (self.disk_share, REDUCER_SHARE, self.megabytes_a_second)
        return [plan_line(text_bytes, shards, 2, self.partition_bytes, *figures)]

    @abstractmethod
    def passages(self) -> Passages:
        """What is compared."""

    @abstractmethod
    def removal(self) -> type[RemovePassages]:
        """The stage that applies what was found."""

    def survey(self, corpus: StageDirectory, directory: str, runner: Runner) -> DocumentStage:
        """Hash all passages, count copies, plan what is cut out."""
        passages = self.passages()
        found_by = (code_version(type(self)), passages.model_dump(mode="json"))
        result = find_copies(
            corpus,
            directory,
            runner,
            passages,
            self.name,
            fingerprint(found_by),
            self.min_copies,
            self.keep,
            self.partition_bytes,
        )
        return self.removal()(
            corpus=corpus.url,
            directory=storage.join(directory, "removals"),
            result=result,
            passages=passages,
            left_characters_min=self.left_characters_min,
        )


@lru_cache(maxsize=4)
def _removals(directory: str, result: str, shard: int) -> tuple[np.ndarray, ...]:
    return read_removals(directory, shard)


@lru_cache(maxsize=1)
def _searched(corpus: str, result: str) -> NumberedCorpus:
    return NumberedCorpus(corpus)


class RemovePassages(CuttingStage):
    """Cuts out what a survey found to stand elsewhere; drops documents of which too little is left."""

    version = 2
    kernels: ClassVar[tuple[str, ...]] = PassageDedup.kernels

    corpus: str = Field(exclude=True)
    """Where the corpus lies that was searched; no part of the fingerprint, as `directory`."""
    passages: Passages
    """What was compared."""

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Cut passages out, drop documents of which too little is left."""
        if not documents.num_rows:
            return Outcome(documents)
        known = _removals(self.directory, self.result, position.shard)
        if not len(known[0]):
            return Outcome(documents)
        from pipeline.kernels.characters import classes
        from pipeline.kernels.column import text_column, texts_of
        from pipeline.kernels.passage_cuts import cut_passages

        texts = documents["text"]
        starts, ends, offsets = self.passages.split(texts)
        row, passage = places(offsets)
        first = position.first_row + _searched(self.corpus, self.result).starts[position.shard]
        kept = self._kept(texts, starts, ends, offsets, first + row, passage, known)
        copies = kept >= _NOWHERE
        removed = np.zeros(len(copies), bool)
        for unit in range(self.passages.run):
            removed[unit:] |= copies[: len(copies) - unit]
        if not removed.any():
            return Outcome(documents)
        column = text_column(texts)
        cut = texts_of(*cut_passages(column.data, column.offsets, starts, ends, offsets, removed, classes()))
        shortened = np.unique(row[removed])
        left = pc.utf8_length(cut).to_numpy(zero_copy_only=False)
        lost = pc.utf8_length(texts).to_numpy() - left
        counts = {
            f"{self.passages.unit}s_removed": int(removed.sum()),
            "characters_removed": int(lost.sum()),
            "documents_shortened": len(shortened),
        }
        return self.outcome(
            documents,
            cut.cast(texts.type),
            shortened,
            left[shortened],
            lost[shortened],
            lambda rows: self._kept_ids(rows, kept, offsets),
            counts,
        )

    def _kept(
        self,
        texts: pa.ChunkedArray,
        starts: np.ndarray,
        ends: np.ndarray,
        offsets: np.ndarray,
        document: np.ndarray,
        passage: np.ndarray,
        known: tuple[np.ndarray, ...],
    ) -> np.ndarray:
        """Of the passage that begins with each unit, the document in which it stays: int64 [units].

        `_NOWHERE` where it goes from all documents, less where it does not go.
        """
        from pipeline.kernels.passages import find_hashes

        high, low, counts = self.passages.hashes(texts, starts, ends, offsets)
        known_high, known_low, kept_document, kept_passage = known
        found = find_hashes(high, low, known_high, known_low)
        stays = kept_document[found] == document
        if self.passages.within_documents:
            stays &= kept_passage[found] == passage
        return np.where(counts & (found >= 0) & ~stays, kept_document[found], _NOWHERE - 1)

    def _kept_ids(self, wanted: list[int], kept: np.ndarray, offsets: np.ndarray) -> dict[int, str]:
        """For rows of the batch that lost something, the id of the document in which most of it stays."""
        if not storage.is_local(self.corpus):
            return {}
        numbers = {}
        for row in wanted:
            documents, passages = np.unique(kept[offsets[row] : offsets[row + 1]], return_counts=True)
            known = documents >= 0
            if known.any():
                numbers[row] = int(documents[known][np.argmax(passages[known])])
        asked = np.unique(np.array(list(numbers.values()), np.int64))
        ids = dict(zip(asked.tolist(), _searched(self.corpus, self.result).column("id", asked), strict=True))
        return {row: ids[number] for row, number in numbers.items()}
