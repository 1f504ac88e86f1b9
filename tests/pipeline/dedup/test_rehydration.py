"""Re-hydration: one document of each group stays, with the repetitions that FineWeb-2 published for its size."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.dedup.exact import ExactDedup
from pipeline.dedup.minhash import MinhashDedup
from pipeline.dedup.rehydration import Rehydrate
from pipeline.errors import UserError
from pipeline.shard import DOCUMENT_SCHEMA, documents_table, open_table
from pipeline.stage import Outcome, Position
from tests.pipeline.dedup.corpora import survey


def with_sizes(sizes: list[int | None]) -> pa.Table:
    table = documents_table([{"id": str(row), "text": "text", "source": "test"} for row in range(len(sizes))])
    return table.append_column("size", pa.array(sizes, pa.int64()))


def rehydrated(sizes: list[int | None], **fields: object) -> Outcome:
    stage = Rehydrate.model_validate({"size_column": "size", "kept_column": None, **fields})
    return stage.apply(with_sizes(sizes), Position(0, 0))


def test_the_weights_are_those_of_fineweb2() -> None:
    outcome = rehydrated([None, 1, 2, 3, 4, 5, 99, 100, 999, 1000, 10**9])
    assert outcome.documents["repetitions"].to_pylist() == [1, 1, 2, 3, 3, 5, 5, 8, 8, 1, 1]
    assert outcome.counts == {"documents_with_repetitions": 38}


def test_weights_of_a_language_can_be_given() -> None:
    # Of Italian, up to ten repetitions: the first of the table in misc/rehydration.
    outcome = rehydrated(
        [1, 2, 6, 17, 25, 26], weights={1: 1, 2: 3, 3: 4, 4: 5, 5: 6, 7: 7, 8: 8, 11: 9, 17: 10, 26: 9}
    )
    assert outcome.documents["repetitions"].to_pylist() == [1, 3, 6, 10, 10, 9]


@given(
    st.dictionaries(st.integers(2, 50), st.integers(1, 9)).map(lambda weights: {1: 1, **weights}),
    st.lists(st.integers(1, 60)),
)
def test_a_size_has_the_weight_of_the_last_limit_that_it_reaches(weights: dict[int, int], sizes: list[int]) -> None:
    limits = sorted(weights)
    expected = [weights[limits[bisect_right(limits, size) - 1]] for size in sizes]
    assert rehydrated([*sizes], weights=weights).documents["repetitions"].to_pylist() == expected


def test_of_labelled_near_duplicates_the_kept_one_stays_with_its_repetitions(tmp_path: Path) -> None:
    text = " ".join(f"word{number}" for number in range(100))
    shards = [["something else", text], [f"{text} more", text]]
    corpus, labelling = survey(tmp_path, shards, MinhashDedup(action="label"))
    found = [
        Rehydrate().apply(labelling.apply(open_table(corpus.path(shard)), Position(place, 0)).documents, Position(0, 0))
        for place, shard in enumerate(corpus.shards)
    ]
    assert [outcome.documents["repetitions"].to_pylist() for outcome in found] == [[1, 3], [3, 3]]
    assert [list(outcome.drops.items()) for outcome in found] == [
        [],
        [(0, ("duplicate", "3", "1", "0-1", None)), (1, ("duplicate", "3", "1", "0-1", None))],
    ]
    assert [outcome.counts["documents_with_repetitions"] for outcome in found] == [4, 0]


def test_copies_of_exact_duplicates_count_too(tmp_path: Path) -> None:
    corpus, applying = survey(tmp_path, [["twice", "once", "twice"]], ExactDedup(copies_column="copies"))
    documents = applying.apply(open_table(corpus.path(corpus.shards[0])), Position(0, 0)).documents
    outcome = Rehydrate(size_column="copies", kept_column=None).apply(documents, Position(0, 0))
    assert outcome.documents["repetitions"].to_pylist() == [2, 1, 2]


def test_an_empty_batch_has_the_column() -> None:
    assert rehydrated([]).documents.schema.field("repetitions").type == pa.int64()


def test_documents_without_the_labels_and_a_column_that_is_there_are_refused() -> None:
    with pytest.raises(UserError, match="no column near_duplicate_group_size"):
        Rehydrate().apply(DOCUMENT_SCHEMA.empty_table(), Position(0, 0))
    with pytest.raises(UserError, match="a column id already"):
        rehydrated([1], column="id")


@pytest.mark.parametrize("weights", [{}, {2: 1}, {1: 0}])
def test_weights_that_leave_a_size_out_or_repeat_nothing_are_refused(weights: dict[int, int]) -> None:
    with pytest.raises(ValidationError):
        Rehydrate(weights=weights)
