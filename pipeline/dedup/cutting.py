"""What the stages that cut pieces out of documents have in common, once it is known which text is left of each.

Decisions: a document of which too little is left is dropped as a whole, and the drop log names the document in which
most of what it lost stays. Ids of such documents are looked up for those few alone, and for the report's examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.stage import EXAMPLES, DocumentStage, Drops, Outcome


class CuttingStage(DocumentStage):
    """Applies the removals that a survey wrote, a file a shard."""

    directory: str = Field(exclude=True)
    """Where the removals lie; no part of the fingerprint, so that a run directory can be moved."""
    result: str
    """Fingerprint of all removals: another result makes the following shards be done again."""
    left_characters_min: int
    """Fewest characters that must be left of a document that lost some."""

    def outcome(
        self,
        documents: pa.Table,
        texts: pa.Array | pa.ChunkedArray,
        shortened: np.ndarray,
        left: np.ndarray,
        lost: np.ndarray,
        kept_ids: Callable[[list[int]], Mapping[int, str | None]],
        counts: dict[str, int],
    ) -> Outcome:
        """The documents with what is left of their texts, those dropped of which that is too little.

        Args:
            documents: A batch.
            texts: What is left of all of them, of the type that the batch has.
            shortened: Rows that have become shorter, ascending: int64 [shortened].
            left: Characters that are left of these: int64 [shortened].
            lost: Characters that these lost: int64 [shortened].
            kept_ids: Gives for some of these rows the ids of the documents in which most of what they lost stays, where
                known.
            counts: What was counted.
        """
        short = left < self.left_characters_min
        dropped, shown = shortened[short].tolist(), shortened[:EXAMPLES].tolist()
        named = kept_ids(sorted({*dropped, *shown}))
        drops = Drops()
        for row, characters in zip(dropped, left[short].tolist(), strict=True):
            drops.add(row, "left_characters_min", characters, self.left_characters_min, kept_id=named.get(row))
        examples = [
            f"{documents['id'][row].as_py()}: {characters} characters"
            + ("" if named.get(row) is None else f", which stay in {named[row]}")
            for row, characters in zip(shown, lost[: len(shown)].tolist(), strict=True)
        ]
        column = documents.schema.get_field_index("text")
        cut = documents.set_column(column, documents.schema.field(column), texts)
        return Outcome(cut, drops, counts, {"documents_shortened": examples})
