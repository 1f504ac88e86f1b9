"""Laws of packing, on documents of any lengths: what is cut, what is padded, what stands before what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.packing import best_fit
from pipeline.tokens.packing import Pieces, fit_documents, frozen, split_documents

END = 0
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60)
CAPACITY = st.integers(2, 17)


def documents(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Documents whose tokens are all different, closed by end-of-text."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.arange(1, starts[-1] + 1).astype(np.uint32)
    tokens[starts[1:] - 1] = END
    return tokens, starts


def rows(tokens: np.ndarray, pieces: Pieces) -> dict[int, list[tuple[int, list[int]]]]:
    """For each row the pieces' contexts and tokens; checks that they stand side by side from the row's beginning."""
    found: dict[int, list[tuple[int, list[int]]]] = {}
    filled: dict[int, int] = {}
    fields = (pieces.rows, pieces.offsets, pieces.starts, pieces.lengths, pieces.contexts)
    for row, offset, start, length, context in zip(*(values.tolist() for values in fields), strict=True):
        assert offset == filled.get(row, offset if row == 0 else 0)
        filled[row] = offset + length
        found.setdefault(row, []).append((context, tokens[start : start + length].tolist()))
    return found


@settings(max_examples=200, deadline=None)
@given(LENGTHS, CAPACITY, st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_split_is_the_stream_of_all_documents_cut_at_every_row(lengths, capacity, begin, random) -> None:
    tokens, starts = documents(lengths)
    order = list(range(len(lengths)))
    random.shuffle(order)
    phase = begin % capacity
    pieces, left = split_documents(tokens, starts, np.array(order), capacity, phase, END)

    stream = np.concatenate([tokens[starts[number] : starts[number + 1]] for number in order]).tolist()
    contexts = [END, *stream[:-1]]
    found = rows(tokens, pieces)
    assert [token for row in sorted(found) for _, part in found[row] for token in part] == stream
    position = 0
    for piece in range(len(pieces)):
        assert pieces.contexts[piece] == contexts[position]
        assert divmod(position + phase, capacity) == (pieces.rows[piece], pieces.offsets[piece])
        position += pieces.lengths[piece]
        assert position == len(stream) or stream[position - 1] == END or (position + phase) % capacity == 0
    whole = {row for row, parts in found.items() if sum(len(part) for _, part in parts) == capacity}
    assert {int(row) for row in pieces.rows[~left]} == whole - ({0} if phase else set())


@settings(max_examples=200, deadline=None)
@given(LENGTHS, CAPACITY, st.randoms(use_true_random=False))
def test_best_fit_cuts_nothing_that_fits_and_every_token_stands_once(lengths, capacity, random) -> None:
    tokens, starts = documents(lengths)
    order = list(range(len(lengths)))
    random.shuffle(order)
    pieces = fit_documents(tokens, starts, np.array(order), capacity, END)

    found = rows(tokens, pieces)
    assert sorted(found) == list(range(len(found)))
    parts = [part for row in found.values() for _, part in row]
    assert all(sum(len(part) for _, part in row) <= capacity for row in found.values())
    expected = []
    for number in range(len(lengths)):
        document = tokens[starts[number] : starts[number + 1]].tolist()
        expected += [document[cut : cut + capacity] for cut in range(0, len(document), capacity)]
    assert sorted(parts) == sorted(expected)


@settings(max_examples=200, deadline=None)
@given(LENGTHS, CAPACITY)
def test_a_document_that_goes_on_begins_its_row_after_the_token_before_the_cut(lengths, capacity) -> None:
    tokens, starts = documents(lengths)
    pieces = fit_documents(tokens, starts, np.arange(len(lengths)), capacity, END)
    goes_on = pieces.starts > starts[pieces.document]
    assert (pieces.contexts[goes_on] == tokens[pieces.starts[goes_on] - 1]).all()
    assert (pieces.contexts[~goes_on] == END).all()
    for row in np.unique(pieces.rows[goes_on]):
        assert goes_on[pieces.rows == row][0]
        assert (np.diff(goes_on[pieces.rows == row].astype(int)) <= 0).all()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 30), max_size=80), st.integers(30, 33))
def test_the_kernel_is_best_fit_decreasing(lengths: list[int], capacity: int) -> None:
    """Against the obvious search of all rows: equal numbers of rows with equal contents by length."""
    decreasing = np.argsort(-np.array(lengths, np.int64), kind="stable")
    rows = best_fit(frozen(np.array(lengths, np.int64)), frozen(decreasing), capacity)
    free: list[int] = []
    for piece in decreasing.tolist():
        fitting = [room for room in free if room >= lengths[piece]]
        if fitting:
            free[free.index(min(fitting))] -= lengths[piece]
        else:
            free.append(capacity - lengths[piece])
    found = capacity - np.bincount(rows, lengths) if lengths else np.array([])
    assert sorted(found.tolist()) == sorted(free)


@pytest.mark.parametrize("spread", [0.6, 1.0, 1.5])
def test_padding_of_texts_as_long_as_they_are_on_the_web_is_below_a_hundredth(spread: float) -> None:
    """Log-normal lengths around 600 tokens (as web texts have), rows of 2048."""
    lengths = np.maximum(1, np.random.default_rng(3).lognormal(np.log(600), spread, 20_000)).astype(int)
    tokens, starts = documents(lengths.tolist())
    pieces = fit_documents(tokens, starts, np.arange(len(lengths)), 2048, END)
    places = (int(pieces.rows.max()) + 1) * 2048
    assert 0 <= 1 - len(tokens) / places <= 0.01
