"""Exact substring deduplication: what stood before in the corpus, word for word, is cut out.

Source: Lee et al. (2022), "Deduplicating Training Data Makes Language Models Better",
https://arxiv.org/abs/2107.06499, section 4.1: spans of at least 50 tokens that occur at least twice. There tokens are
BPE's, and the published program (deduplicate-text-datasets) names every occurrence, so that all of them go; here the
first one in corpus order stays.

Decisions: a token is a word or a run of marks (`pipeline.kernels.unicode_words`; in scripts without spaces a character
or cluster), compared byte for byte; white space between tokens makes no difference. In English text 50 of them are
some 240 bytes, as the paper's 50 are. What goes is whole sentences, lines or words inside of what stood before, so
that no half sentence is left.

Cost: see `pipeline.dedup.substring_search`; documents that lose nothing cost nothing here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import storage
from pipeline.dedup.costs import plan_line
from pipeline.dedup.cutting import CuttingStage
from pipeline.dedup.substring_search import KERNELS, find_substrings, read_removals, removals_content
from pipeline.kernels.column import TextColumn, text_column, texts_of
from pipeline.shard import StageDirectory, fingerprint
from pipeline.stage import DocumentStage, Outcome, Position, Runner, SurveyStage, code_version

Border = Literal["sentence", "line", "word"]
DISK_SHARE = 2.9
"""Bytes on disk for each byte of text: windows, and the copies among them."""
REDUCER_SHARE = 7.0
"""Memory of a reducer for each byte of text of its partition."""
MEGABYTES_A_SECOND = 6.5
"""Text in one CPU-second, survey and applying together."""


class SubstringDedup(SurveyStage):
    """Cut out long runs of words that occurred before, anywhere in the corpus."""

    name = "substring_dedup"
    version = 2
    kernels: ClassVar[tuple[str, ...]] = (*KERNELS, "passages", "passage_cuts", "sentences")

    tokens: int = Field(default=50, ge=2, le=1_000)
    """Fewest consecutive words and marks that are a copy of what stood before. Lee et al.: 50 (of BPE)."""
    within_documents: bool = True
    """Also cut out what a document itself repeats; false leaves refrains and tables alone."""
    cut: Border = "sentence"
    """Where cuts may be made: only whole sentences (or lines without an end mark), whole lines, or words go."""
    left_characters_min: int = Field(default=100, ge=1)
    """A document of which something was cut out is dropped when fewer characters are left. Ours."""
    partition_bytes: int = Field(default=128 << 20, ge=1)
    """Bytes of text whose runs of words one reducer handles, in seven times as much memory. Changes no result."""

    def plan_lines(self, text_bytes: int, shards: int | None = None) -> list[str]:
        """What the stage will take for so much text."""
        return [plan_line(text_bytes, shards, 3, self.partition_bytes, DISK_SHARE, REDUCER_SHARE, MEGABYTES_A_SECOND)]

    def survey(self, corpus: StageDirectory, directory: str, runner: Runner) -> DocumentStage:
        """Hash all runs of words, find the first of each, compare the others with it."""
        stamp = fingerprint(code_version(type(self)), self.tokens, corpus.fingerprint)
        result = find_substrings(
            corpus, directory, runner, self.name, stamp, self.tokens, self.within_documents, self.partition_bytes
        )
        return RemoveSubstrings(
            directory=storage.join(directory, "removals"),
            stamp=fingerprint(stamp, self.within_documents),
            result=result,
            cut=self.cut,
            left_characters_min=self.left_characters_min,
        )


@lru_cache(maxsize=4)
def _removals(directory: str, shard: int, content: str, result: str) -> pa.Table:
    return read_removals(directory, shard, content)


class RemoveSubstrings(CuttingStage):
    """Cuts out what `substring_dedup` found; drops documents of which too little is left."""

    name = "substring_dedup"
    version = 2
    kernels: ClassVar[tuple[str, ...]] = SubstringDedup.kernels

    stamp: str
    """Settings and corpus of the survey: removals of another one are refused."""
    cut: Border
    """Where cuts may be made."""

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Cut spans out, drop documents of which too little is left."""
        if not documents.num_rows:
            return Outcome(documents)
        content = removals_content(self.name, self.stamp, position.shard)
        spans = _removals(self.directory, position.shard, content, self.result)
        row, token, tokens = (spans[field].to_numpy() for field in ("row", "token", "tokens"))
        begin, end = np.searchsorted(row, [position.first_row, position.first_row + documents.num_rows])
        if begin == end:
            return Outcome(documents)
        concerned, member = np.unique(row[begin:end] - position.first_row, return_inverse=True)
        texts = documents["text"]
        before = texts.take(pa.array(concerned)).combine_chunks()
        column = text_column(before)
        cut, shortened = _cut(column, member, token[begin:end], tokens[begin:end], self.cut)
        left = pc.utf8_length(cut).to_numpy(zero_copy_only=False)
        lost = pc.utf8_length(before).to_numpy(zero_copy_only=False) - left
        kept_id = spans["kept_id"].slice(begin, end - begin).take(_longest(member, tokens[begin:end]))
        order = np.arange(documents.num_rows)
        order[concerned] = documents.num_rows + np.arange(len(concerned))
        joined = pa.chunked_array([*texts.chunks, cut.cast(texts.type)]).take(pa.array(order))
        counts = {
            "spans_found": int(end - begin),
            "documents_shortened": int(shortened.sum()),
            "characters_removed": int(lost[shortened].sum()),
        }
        return self.outcome(
            documents,
            joined,
            concerned[shortened],
            left[shortened],
            lost[shortened],
            lambda rows: dict(zip(rows, kept_id.take(np.searchsorted(concerned, rows)).to_pylist(), strict=True)),
            counts,
        )


def _longest(document: np.ndarray, tokens: np.ndarray) -> pa.Array:
    """The longest span of each document, the first of several: int64 [documents]."""
    order = np.lexsort((-tokens, document))
    return pa.array(order[np.flatnonzero(np.diff(document[order], prepend=-1))])


def _cut(
    column: TextColumn, document: np.ndarray, token: np.ndarray, tokens: np.ndarray, border: Border
) -> tuple[pa.Array, np.ndarray]:
    """The texts without the units that lie wholly inside the spans; bool [documents]: which have become shorter.

    document, token, tokens: int64 [spans]: place in the column, first token in the document, length.
    """
    from pipeline.kernels.characters import classes
    from pipeline.kernels.passage_cuts import cut_passages
    from pipeline.kernels.words import split_words

    words = split_words(column, "unicode")
    change = np.zeros(len(words.starts) + 1, np.int64)
    np.add.at(change, words.offsets[document] + token, 1)
    np.add.at(change, words.offsets[document] + token + tokens, -1)
    copied = np.cumsum(change)[:-1]
    firsts = _unit_firsts(column, words.starts, words.offsets, border)
    lasts = np.append(firsts[1:], len(words.starts)) - 1
    sums = np.append(0, np.cumsum(copied))
    removed = sums[lasts + 1] - sums[firsts] == lasts + 1 - firsts
    offsets = np.searchsorted(firsts, words.offsets)
    starts, ends = words.starts[firsts], words.ends[lasts]
    cut = texts_of(*cut_passages(column.data, column.offsets, starts, ends, offsets, removed, classes()))
    shortened = np.diff(np.append(0, np.cumsum(removed))[offsets]) > 0
    return cut, shortened


def _unit_firsts(column: TextColumn, starts: np.ndarray, offsets: np.ndarray, border: Border) -> np.ndarray:
    """The first token of each unit that is cut out or stays as a whole: int64 [units], ascending."""
    if border == "word":
        return np.arange(len(starts))
    from pipeline.kernels.characters import classes
    from pipeline.kernels.passages import split_passages
    from pipeline.kernels.sentences import split_sentences

    begins = [split_passages(column.data, column.offsets, classes(), 0)[0]]
    if border == "sentence":
        # Headings and items of lists have no end mark: to the sentences they would all be one.
        begins.append(split_sentences(column, "unicode").starts)
    firsts = np.unique(np.concatenate([offsets[:-1], np.searchsorted(starts, np.concatenate(begins))]))
    return firsts[firsts < len(starts)]
