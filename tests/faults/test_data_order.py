"""The rows of each step, read by any number of copies and any way ahead, are the same; none is lost or repeated."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.forked_run import ForkedRun
from bench.planned_faults import hash_of
from tests.faults.forked import ROWS, write_rows
from trainer import data_cursor
from trainer.data.prefetch import Prefetcher
from trainer.data_cursor import DataCursor
from trainer.identity import Inputs, open_inputs
from trainer.parallel.layout import Layout

STEPS, BATCH = 40, 8


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("order")
    (folder / "run").mkdir()
    return open_inputs(ForkedRun(folder / "run", write_rows(folder), {}, {"steps": STEPS}).job())


@pytest.fixture(scope="module")
def rows_by_hash(inputs: Inputs) -> dict[str, int]:
    batch = inputs.data.train.batch(np.arange(ROWS))
    found = {hash_of(batch, row): row for row in range(ROWS)}
    assert len(found) == ROWS
    return found


@pytest.fixture(autouse=True)
def prefetcher() -> Iterator[None]:
    yield
    vars(data_cursor)["Prefetcher"] = Prefetcher


def rows_read(
    inputs: Inputs, rows_by_hash: dict[str, int], layout: Layout, steps: list[int], depth: int, offset: int = 0
) -> list[list[int]]:
    """The rows of each step as the copies' cursors give them, in the order of copies."""
    vars(data_cursor)["Prefetcher"] = partial(Prefetcher, depth=depth)
    cursors = [DataCursor(inputs, layout, layout.rank_of(data=copy)) for copy in range(layout.data)]
    try:
        for cursor in cursors:
            cursor.move(offset)
        given = [[batch for cursor in cursors for batch in cursor.batches(step)] for step in steps]
    finally:
        for cursor in cursors:
            cursor.close()
    return [
        [rows_by_hash[hash_of(batch, row)] for batch in batches for row in range(len(batch.inputs))]
        for batches in given
    ]


@pytest.mark.parametrize("depth", range(5))
@pytest.mark.parametrize("copies", [1, 2, 4, 8])
def test_any_number_of_copies_and_any_depth_read_the_same_rows_and_each_row_once_an_epoch(
    inputs: Inputs, rows_by_hash: dict[str, int], copies: int, depth: int
) -> None:
    layout = Layout(copies, 1, 1, 1, BATCH, min(3, BATCH // copies))
    found = rows_read(inputs, rows_by_hash, layout, list(range(STEPS)), depth)
    order = inputs.order()
    assert found == [order.sample_ids(step).tolist() for step in range(STEPS)]
    in_order = [row for rows in found for row in rows]
    for start in range(0, STEPS * BATCH - ROWS, ROWS):
        assert sorted(in_order[start : start + ROWS]) == list(range(ROWS))


@given(
    copies=st.sampled_from([1, 2, 4, 8]),
    micro_batch=st.integers(1, 8),
    depth=st.integers(0, 4),
    stops=st.lists(st.integers(0, STEPS - 1), max_size=4),
    left_out=st.integers(0, 200),
)
def test_stopped_anywhere_and_with_samples_left_out_the_rows_are_those_of_the_order(
    inputs: Inputs,
    rows_by_hash: dict[str, int],
    copies: int,
    micro_batch: int,
    depth: int,
    stops: list[int],
    left_out: int,
) -> None:
    layout = Layout(copies, 1, 1, 1, BATCH, min(micro_batch, BATCH // copies))
    steps = [step for start in stops for step in range(start, min(start + 3, STEPS))]
    expected = [inputs.order().sample_ids(step, left_out).tolist() for step in steps]
    assert rows_read(inputs, rows_by_hash, layout, steps, depth, left_out) == expected


def test_all_processes_of_a_copy_read_the_same(inputs: Inputs) -> None:
    layout = Layout(2, 2, 2, 1, BATCH, 3)
    cursors = [DataCursor(inputs, layout, rank) for rank in range(layout.world)]
    given = [[batch.digest() for batch in cursor.batches(5)] for cursor in cursors]
    for cursor in cursors:
        cursor.close()
    for rank, found in enumerate(given):
        assert found == given[layout.rank_of(data=layout.coordinates(rank).data)]
    assert given[0] != given[layout.rank_of(data=1)]
