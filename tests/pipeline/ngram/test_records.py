"""Sorting more rows than fit in memory gives what sorting in memory gives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.kernels.ngram_counts import rows_of
from pipeline.kernels.ngram_probabilities import to_context_order
from pipeline.kernels.ngram_records import word_at
from pipeline.ngram.records import RecordSorter

Gram = tuple[int, ...]


def rows(ngrams: list[Gram], payload: int = 1) -> np.ndarray:
    """Keys with the last word in slot 0."""
    records = np.zeros((len(ngrams), 3), np.uint64)
    for row, ngram in enumerate(ngrams):
        for slot, word in enumerate(reversed(ngram)):
            records[row, slot // 3] |= np.uint64(word << (42 - 21 * (slot % 3)))
        records[row, 2] = payload
    return records


def ngram_of(record: np.ndarray, words: int) -> Gram:
    return tuple(int(word_at(record[0], record[1], slot)) for slot in reversed(range(words)))


def sorted_out(batches: list[list[Gram]], words: int, folder: Path, memory_bytes: int) -> list[tuple[Gram, int]]:
    sorter = RecordSorter(str(folder), range(words - 1, -1, -1), 21, memory_bytes, add=True)
    for batch in batches:
        sorter.add(rows(batch))
    return [(ngram_of(row, words), int(row[2])) for part in sorter.batches() for row in part.copy()]


word = st.integers(0, 5) | st.integers(0, (1 << 21) - 1)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.integers(1, 6).flatmap(lambda words: st.lists(st.lists(st.tuples(*[word] * words), max_size=20), max_size=4)))
def test_rows_come_out_by_their_last_words_with_their_counts(tmp_path: Path, batches: list[list[Gram]]) -> None:
    words = next((len(ngram) for batch in batches for ngram in batch), 1)
    expected = Counter(ngram for batch in batches for ngram in batch)
    found = sorted_out(batches, words, tmp_path, 1 << 16)
    assert found == sorted(expected.items(), key=lambda entry: entry[0][::-1])


@pytest.mark.parametrize("memory_bytes", [1, 100_000, 1 << 24])
def test_memory_changes_nothing_but_the_number_of_runs(tmp_path: Path, memory_bytes: int) -> None:
    drawn = np.random.default_rng(1)
    batches = [[tuple(ngram) for ngram in drawn.integers(0, 30, (700, 3)).tolist()] for _ in range(12)]
    expected = Counter(ngram for batch in batches for ngram in batch)
    found = sorted_out(batches, 3, tmp_path, memory_bytes)
    assert found == sorted(expected.items(), key=lambda entry: entry[0][::-1])
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.tuples(*[st.integers(0, (1 << 21) - 1)] * 5), min_size=1, max_size=8))
def test_context_order_puts_the_last_word_last(ngrams: list[Gram]) -> None:
    records = rows(ngrams)
    to_context_order(records, 5)
    for record, ngram in zip(records, ngrams, strict=True):
        assert ngram_of(record, 5) == (ngram[-1], *ngram[:-1])


@given(st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=6), st.integers(2, 6), st.integers(1, 9))
def test_each_token_and_each_end_has_an_ngram_however_many_are_made_at_once(
    segments: list[list[int]], order: int, at_once: int
) -> None:
    ids = np.array([word for segment in segments for word in segment], np.int32)
    offsets = np.cumsum([0, *map(len, segments)])
    for array in (ids, offsets):
        array.flags.writeable = False
    out, place, key = np.empty((at_once, 3), np.uint64), np.zeros(2, np.int64), np.zeros(2, np.uint64)
    found: list[Gram] = []
    while place[0] < len(segments):
        found += [ngram_of(record, order) for record in out[: rows_of(ids, offsets, place, key, order, out)]]
    expected = []
    for segment in segments:
        line = [1] * order + [word for word in segment if word > 2] + [2]
        expected += [tuple(line[end - order : end]) for end in range(order + 1, len(line) + 1)]
    assert found == expected
