"""Re-hydration: keeps one document of each group of duplicates and says how often it is worth repeating.

Source: FineWeb-2 (Penedo et al. 2025, https://arxiv.org/abs/2506.20920). What was copied now and then is better than
what nobody copied, and what was copied thousands of times is worse: its filters removed more of the latter two. The
weights here are the fixed ones of its repository (https://github.com/huggingface/fineweb-2); those that it later made
for each language (misc/rehydration/weights) have the same form and can be given instead.

Decisions: a stage may add no rows, so the repetitions are a column; a document would else be packed beside its copies.
The groups come as labels (`minhash_dedup: {action: label}`). Filters belong behind this stage: one before it that drops
the kept document of a group would lose the group.

Cost: next to nothing.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from pipeline.errors import UserError
from pipeline.stage import DocumentStage, Drops, Outcome, Position

FINEWEB2_WEIGHTS = {1: 1, 2: 2, 3: 3, 5: 5, 100: 8, 1000: 1}


class Rehydrate(DocumentStage):
    """Keep one document of each labelled group, with a column that says how often it should be seen."""

    name: ClassVar[str] = "rehydrate"

    weights: dict[int, int] = FINEWEB2_WEIGHTS
    """Repetitions from so many documents in the group on, `{size: repetitions}`. FineWeb-2: 1 for a document without
    twins, 2 and 3 for groups of two and three (and 3 for four), 5 from 5, 8 from 100, 1 from 1000 on."""
    size_column: str = "near_duplicate_group_size"
    """Column with the size of the group; null is 1. `copies_column` of `exact_dedup` names such a column too."""
    kept_column: str | None = "near_duplicate_of"
    """Column with the id of the document to keep of the group: all others are dropped. null drops none."""
    column: str = Field(default="repetitions", min_length=1)
    """The column to add."""

    @field_validator("weights")
    @classmethod
    def _from_one_on(cls, weights: dict[int, int]) -> dict[int, int]:
        if min(weights, default=0) != 1:
            raise ValueError("the smallest size must be 1: that of documents without twins")
        if min(weights.values()) < 1:
            raise ValueError("repetitions must be 1 or more: a stage before this one may drop documents")
        return dict(sorted(weights.items()))

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Drop all but the kept ones, add the repetitions; counts what the corpus would hold with them."""
        for column in (self.size_column, self.kept_column):
            if column is not None and column not in documents.column_names:
                raise UserError(
                    f"rehydrate: the documents have no column {column}; put `minhash_dedup: {{action: label}}` before "
                    "it, or set size_column and kept_column"
                )
        if self.column in documents.column_names:
            raise UserError(f"rehydrate: the documents have a column {self.column} already; set `column`")
        sizes = pc.fill_null(documents[self.size_column].cast(pa.int64()), 1).to_numpy()
        limits = np.array(list(self.weights), np.int64)
        values = np.array(list(self.weights.values()), np.int64)
        repetitions = values[np.maximum(np.searchsorted(limits, sizes, side="right") - 1, 0)]
        drops = Drops()
        stays = np.ones(documents.num_rows, bool)
        if self.kept_column is not None:
            kept = documents[self.kept_column]
            other = pc.fill_null(pc.not_equal(kept.cast(pa.string()), documents["id"].cast(pa.string())), False)
            stays = ~other.to_numpy().astype(bool)
            for row in np.flatnonzero(~stays).tolist():
                drops.add(row, "duplicate", int(sizes[row]), 1, kept_id=kept[row].as_py())
        counts = {"documents_with_repetitions": int(repetitions[stays].sum())}
        return Outcome(documents.append_column(self.column, pa.array(repetitions)), drops, counts)
