"""Judges documents by the n-grams that they share with evaluation sets: drops, cleans or labels them.

Source: GPT-3 (Brown et al. 2020, https://arxiv.org/abs/2005.14165, appendix C): 13-grams of words in lower case without
punctuation; 200 characters on either side of one go with it, pieces of fewer than 200 characters are dropped, and a
document of more than 10 pieces goes as a whole.

Decisions: passages shorter than n words are looked for as a whole from `min_words` words on, as short examples are in
GPT-3's analysis (8 to 13 words); shorter ones are not looked for. The kept pieces of a text are joined by an empty
line, because a document remains one document.

Cost: 35 MB of text a CPU-second; memory by the evaluation sets alone.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from pipeline.decontamination.index import Hits, NgramIndex, names_of, ngram_index
from pipeline.decontamination.removal import pieces_without
from pipeline.decontamination.sets import EvaluationSet
from pipeline.kernels.column import TextColumn, text_column
from pipeline.stage import EXAMPLES, DocumentStage, Drops, Outcome, Position

_SHOWN_ITEMS = 3
_SHOWN_BYTES = 160


class NgramDecontamination(DocumentStage):
    """Judges documents by the n-grams that they share with evaluation sets; what recipes may say of it."""

    name: ClassVar[str] = "decontaminate"
    kernels: ClassVar[tuple[str, ...]] = ("overlap",)

    sets: dict[str, EvaluationSet] = Field(min_length=1)
    """Evaluation sets by name: `{gsm8k: {path: eval/gsm8k.jsonl.zst, fields: [question, answer]}}`, or the path alone
    to look for all strings of the items."""
    n: int = Field(default=13, ge=1)
    """Words of an n-gram. GPT-3: 13. Han, kana and Thai characters count as words: double it for sets in these."""
    min_words: int = Field(default=8, ge=1)
    """Passages of fewer than `n` words, but so many, are looked for as a whole. GPT-3: 8."""
    max_items: int = Field(default=10, ge=1)
    """An n-gram in more items than these is the form of the benchmark and not looked for."""
    max_documents: int | None = Field(default=None, ge=1)
    """An n-gram in more documents of the corpus than these is a common phrase and not looked for: a survey counts them
    before. GPT-3: 10. null looks for all."""
    min_hits: int = Field(default=1, ge=1)
    """Hits that make a document contaminated: places of the text at which an n-gram ends."""
    min_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the document's words that must be in hits."""
    action: Literal["drop", "remove", "label"] = "drop"
    """`drop` contaminated documents, `remove` the passages and what is around them, or `label` documents with the
    items found (column `contaminated_by`) and the share of words in hits (`contaminated_share`)."""
    window_characters: int = Field(default=200, ge=0)
    """`remove`: characters on either side of an n-gram that go with it. GPT-3: 200."""
    min_piece_characters: int = Field(default=200, ge=0)
    """`remove`: shorter pieces between are not kept. GPT-3: 200."""
    max_pieces: int = Field(default=10, ge=1)
    """`remove`: a document of more pieces is dropped. GPT-3: 10."""

    @field_validator("sets", mode="before")
    @classmethod
    def _paths(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {name: {"path": entry} if isinstance(entry, str) else entry for name, entry in given.items()}

    @model_validator(mode="after")
    def _lengths(self) -> NgramDecontamination:
        if self.min_words > self.n:
            raise ValueError(f"min_words={self.min_words} is more than n={self.n}: lower it")
        return self

    def files(self) -> list[str]:
        """The files of the evaluation sets: their content decides the output."""
        return [entry.path for entry in self.sets.values()]

    def all_ngrams(self) -> NgramIndex:
        """The n-grams of the sets, but for those that are in too many items."""
        return ngram_index(tuple(self.sets.items()), self.n, self.min_words, self.max_items)

    def ngrams(self) -> NgramIndex:
        """The n-grams that are looked for."""
        return self.all_ngrams()

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Judge each document; counts tell documents and pairs of document and item for each evaluation set."""
        index = self.ngrams()
        column = text_column(documents["text"])
        hits, figures = index.find(column)
        shares = figures[:, 2] / np.maximum(figures[:, 0], 1)
        contaminated = (figures[:, 1] >= self.min_hits) & (shares >= self.min_share)
        rows = np.flatnonzero(contaminated).tolist()
        bounds = np.searchsorted(hits.documents, np.arange(len(column) + 1))
        found = {row: index.items_of(hits.ngrams[bounds[row] : bounds[row + 1]]) for row in rows}
        counts, examples = _report(index, column, hits, bounds, found)
        outcome = Outcome(documents, Drops(), dict(counts), examples)
        if self.action == "label":
            labels = [names_of(found[row], EXAMPLES) if row in found else None for row in range(len(column))]
            outcome.documents = documents.append_column("contaminated_by", pa.array(labels, pa.string())).append_column(
                "contaminated_share", pa.array(shares, pa.float64())
            )
            return outcome
        cleaned: dict[int, str] = {}
        for row in rows:
            mine = slice(bounds[row], bounds[row + 1])
            starts, ends = hits.starts[mine], hits.ends[mine]
            rule, value, threshold = self._broken(int(figures[row, 1]), float(shares[row]))
            if self.action == "remove":
                spans = _joined(starts - column.offsets[row], ends - column.offsets[row])
                text = documents["text"][row].as_py()
                pieces, count = pieces_without(text, spans, self.window_characters, self.min_piece_characters)
                if pieces and count <= self.max_pieces:
                    cleaned[row] = "\n\n".join(pieces)
                    continue
                if count > self.max_pieces:
                    rule, value, threshold = "max_pieces", str(count), self.max_pieces
                else:
                    rule, value, threshold = "min_piece_characters", "no piece left", self.min_piece_characters
            shown = f"{value}: {names_of(found[row], _SHOWN_ITEMS)}"
            outcome.drops.add(row, rule, shown, threshold, excerpt=_excerpt(column, int(starts[0]), int(ends[0])))
        if cleaned:
            texts = [cleaned.get(row, text) for row, text in enumerate(documents["text"].to_pylist())]
            place = documents.column_names.index("text")
            texts_field = documents.schema.field("text")
            outcome.documents = documents.set_column(place, texts_field, pa.array(texts, texts_field.type))
            outcome.counts["documents_cleaned"] = len(cleaned)
        return outcome

    def _broken(self, hits: int, share: float) -> tuple[str, str, Any]:
        return (
            ("min_share", f"{share:.6g}", self.min_share) if self.min_share else ("min_hits", str(hits), self.min_hits)
        )


def _report(
    index: NgramIndex, column: TextColumn, hits: Hits, bounds: np.ndarray, found: dict[int, list[tuple[str, int]]]
) -> tuple[Counter[str], dict[str, list[str]]]:
    """What the report says of each evaluation set: counts, and the first places found."""
    counts = Counter[str]()
    examples: dict[str, list[str]] = {}
    for row, items in found.items():
        per_set = Counter(name for name, _ in items)
        for name, number in per_set.items():
            counts[f"documents_with_{name}"] += 1
            counts[f"items_found_of_{name}"] += number
        first = int(bounds[row])
        for name, item in index.items_of(hits.ngrams[first : first + 1]):
            shown = examples.setdefault(f"documents_with_{name}", [])
            if len(shown) < EXAMPLES:
                excerpt = _excerpt(column, int(hits.starts[first]), int(hits.ends[first]))
                shown.append(f"{name}:{item}: {excerpt}")
    return counts, examples


def _joined(starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, int]]:
    """Spans without overlaps, ascending: a text that repeats an item has as many hits as words."""
    order = np.argsort(starts, kind="stable")
    starts, reached = starts[order], np.maximum.accumulate(ends[order])
    first = np.flatnonzero(np.r_[True, starts[1:] > reached[:-1]])
    last = np.r_[first[1:], len(starts)] - 1
    return list(zip(starts[first].tolist(), reached[last].tolist(), strict=True))


def _excerpt(column: TextColumn, start: int, end: int) -> str:
    return column.data[start : min(end, start + _SHOWN_BYTES)].tobytes().decode(errors="ignore")
