"""What becomes of documents of which something was cut out: those with too little left go, and all of it is told."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.dedup.cutting import CuttingStage
from pipeline.shard import documents_table
from pipeline.stage import EXAMPLES, Outcome, Position


class CutEnds(CuttingStage):
    """Cuts all but the first two characters of each document; odd rows have no kept document."""

    name = "cut_ends"
    asked: list[int] = Field(default_factory=list, exclude=True)
    """Rows whose kept document was asked for."""

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Cut."""
        texts = documents["text"].to_pylist()
        shortened = np.array([row for row, text in enumerate(texts) if len(text) > 2], np.int64)
        cut = pa.chunked_array([[text[:2] for text in texts]], documents.schema.field("text").type)
        left = np.full(len(shortened), 2)
        lost = np.array([len(texts[row]) - 2 for row in shortened], np.int64)

        def kept_ids(rows: list[int]) -> dict[int, str]:
            self.asked.extend(rows)
            return {row: f"kept-{row}" for row in rows if row % 2 == 0}

        return self.outcome(documents, cut, shortened, left, lost, kept_ids, {"cut": len(shortened)})


def cut(texts: list[str], left_characters_min: int) -> tuple[pa.Table, Outcome, list[int]]:
    batch = documents_table([{"id": f"d{row}", "text": text, "source": "test"} for row, text in enumerate(texts)])
    stage = CutEnds(directory="removals", result="result", left_characters_min=left_characters_min)
    return batch, stage.apply(batch, Position(0, 0)), stage.asked


def test_all_stay_of_which_enough_is_left_and_nothing_but_the_text_changes() -> None:
    batch, outcome, _ = cut(["ab", "abcde", "", "abc"], left_characters_min=2)
    assert outcome.documents["text"].to_pylist() == ["ab", "ab", "", "ab"]
    assert outcome.documents.schema == batch.schema
    assert outcome.documents.drop_columns("text") == batch.drop_columns("text")
    assert len(outcome.drops) == 0
    assert outcome.counts == {"cut": 2}
    assert outcome.examples == {"documents_shortened": ["d1: 3 characters", "d3: 1 characters"]}


def test_too_little_left_drops_shortened_documents_alone_and_names_where_the_rest_stays() -> None:
    _, outcome, _ = cut(["ab", "abcde", "abcd"], left_characters_min=3)
    assert list(outcome.drops.items()) == [
        (1, ("left_characters_min", "2", "3", None, None)),
        (2, ("left_characters_min", "2", "3", "kept-2", None)),
    ]
    assert outcome.examples["documents_shortened"][1] == "d2: 2 characters, which stay in kept-2"


def test_ids_are_asked_for_of_dropped_documents_and_examples_alone() -> None:
    texts = ["abc"] * (EXAMPLES + 3)
    assert cut(texts, left_characters_min=1)[2] == list(range(EXAMPLES))
    assert cut(texts, left_characters_min=3)[2] == list(range(EXAMPLES + 3))


def test_a_moved_run_directory_is_the_same_stage() -> None:
    first = CutEnds(directory="a", result="r", left_characters_min=1)
    assert first.fingerprint() == CutEnds(directory="b", result="r", left_characters_min=1).fingerprint()
    assert first.fingerprint() != CutEnds(directory="a", result="other", left_characters_min=1).fingerprint()
