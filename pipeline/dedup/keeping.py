"""Which document of a group of duplicates is kept.

Decisions: sources in the given order first, then the measure, then the earlier document: a total order, so the choice
does not depend on the order in which tasks ended. Only columns of documents that are in a group are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.dedup.numbering import NumberedCorpus
from pipeline.errors import SettingError
from pipeline.shard import StageDirectory, open_table
from pipeline.stage import SurveyStage

Measure = Literal["first", "longest", "highest", "lowest"]


@dataclass(frozen=True)
class KeepRule:
    """What makes a document the one that stays."""

    measure: Measure = "first"
    """First of the corpus, longest text in bytes, or highest or lowest value of a column."""
    column: str | None = None
    """Numeric column for `highest` and `lowest`; a document without a value comes last."""
    sources: tuple[str, ...] = ()
    """Values of the column `source` in order of priority; all others come after them."""


class KeepingStage(SurveyStage):
    """A stage that keeps one document of each group of duplicates."""

    keep: Measure = "first"
    """Which document of a group stays: the `first` of the corpus, the `longest`, or that with the `highest` or `lowest`
    value of `keep_column`. Ties go to the first."""
    keep_column: str | None = None
    """Numeric column that an earlier stage added, such as `perplexity`; documents without a value come last."""
    keep_sources: list[str] = Field(default_factory=list)
    """Values of `source` in order of priority: a document of the first one named stays, whatever `keep` says."""

    @model_validator(mode="after")
    def _column_when_needed(self) -> KeepingStage:
        if (self.keep in ("highest", "lowest")) != (self.keep_column is not None):
            raise ValueError("set `keep_column` exactly when `keep` is `highest` or `lowest`")
        return self

    @property
    def keep_rule(self) -> KeepRule:
        """What the fields say."""
        return KeepRule(self.keep, self.keep_column, tuple(self.keep_sources))

    def check_columns(self, corpus: StageDirectory, added: Sequence[str]) -> None:
        """Make sure that the columns named are there, and those to add are not, before hours are spent.

        Raises:
            SettingError: says which column, and which there are.
        """
        schema = open_table(corpus.path(corpus.shards[0])).schema
        kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        numeric = [field.name for field in schema if any(is_kind(field.type) for is_kind in kinds)]
        if self.keep_column is not None and self.keep_column not in numeric:
            what = "is no number" if self.keep_column in schema.names else "does not exist"
            there = f"numbers are in: {', '.join(numeric)}" if numeric else "no column holds numbers"
            raise SettingError(
                f"{self.name}: keep_column: the documents' column {self.keep_column} {what} here; {there} (what the "
                "records held besides their text is in `metadata`, which is no column of numbers)"
            )
        if twice := [name for name in added if name in schema.names]:
            raise SettingError(
                f"{self.name}: the documents have the columns {', '.join(twice)} already, which this stage would add: "
                "name others, label in one stage only, or let one drop"
            )


def kept_documents(
    numbered: NumberedCorpus, document: np.ndarray, root: np.ndarray, rule: KeepRule
) -> tuple[np.ndarray, np.ndarray]:
    """The kept document of each one's group, and the order in which the rule would keep them.

    Args:
        numbered: The corpus.
        document: int64[documents]: numbers of all members of all groups, ascending.
        root: int64[documents]: the same number for all members of a group.
        rule: Which one to keep.

    Returns:
        The kept one: int64[documents]; its place in its group by the rule, 0 for the kept one: int64[documents].
    """
    keys = [document, _measured(numbered, document, rule), _rank(numbered, document, rule.sources), root]
    order = np.lexsort(keys)
    ordered_roots = root[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = ordered_roots[1:] != ordered_roots[:-1]
    starts = np.flatnonzero(is_first)
    sizes = np.diff(np.append(starts, len(order)))
    kept, rank = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    kept[order] = np.repeat(document[order[starts]], sizes)
    rank[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return kept, rank


def _measured(numbered: NumberedCorpus, document: np.ndarray, rule: KeepRule) -> np.ndarray:
    """float64[documents], smallest for the best."""
    if rule.measure == "first" or not len(document):
        return np.zeros(len(document))
    if rule.measure == "longest":
        return -numbered.text_bytes(document).astype(np.float64)
    assert rule.column is not None
    values = np.array(numbered.column(rule.column, document), np.float64)
    signed = values if rule.measure == "lowest" else -values
    return np.where(np.isnan(signed), np.inf, signed)


def _rank(numbered: NumberedCorpus, document: np.ndarray, sources: tuple[str, ...]) -> np.ndarray:
    if not sources:
        return np.zeros(len(document), np.int64)
    ranks = {source: rank for rank, source in reversed(list(enumerate(sources)))}
    found = numbered.column("source", document)
    return np.array([ranks.get(source, len(sources)) for source in found], np.int64)
