"""What of its rows a run learns from."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.batch import Batch, RowSource, TextPart, TrainingData
from trainer.data.objective import first_answers, random_ends, with_objective
from trainer.finetune.settings import FinetuneSettings
from trainer.settings import PretrainSettings

LENGTH = 12


class CountedRows:
    """Row n has the tokens n, n + 1, ...; the last rows are padded, and each has two documents."""

    rows = 50
    text_bytes: int | None = 600
    text_parts = (TextPart(("all",), 600, 600),)

    def text_parts_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.zeros((len(rows), LENGTH), np.int64)

    def arranged(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return rows

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        inputs = np.asarray(rows, np.int64)[:, None] + np.arange(LENGTH)
        mask = np.arange(LENGTH) < np.where(np.asarray(rows) >= 40, 5, LENGTH)[:, None]
        segments = np.broadcast_to((np.arange(LENGTH) >= 7).astype(np.int32), inputs.shape)
        return Batch(inputs, inputs + 1, mask, segments)


def seen(settings: PretrainSettings | FinetuneSettings, seed: int = 1) -> RowSource:
    rows = CountedRows()
    data = TrainingData(rows, rows, "", "", LENGTH, 100)
    return with_objective(
        data, settings, "finetune" if isinstance(settings, FinetuneSettings) else "pretrain", seed
    ).train


def test_documents_are_told_apart_only_where_the_run_wants_it() -> None:
    assert seen(PretrainSettings()).batch([1]).segments is None
    kept = seen(PretrainSettings(document_attention=True)).batch([1]).segments
    assert kept is not None
    assert kept[0].tolist() == [0] * 7 + [1] * 5


def test_without_prefix_rows_are_as_the_source_has_them() -> None:
    given, source = seen(PretrainSettings()), CountedRows()
    assert (given.rows, given.text_bytes, given.text_parts) == (source.rows, source.text_bytes, source.text_parts)
    assert given.batch([3]).prefix is None
    assert np.array_equal(given.text_parts_of(np.array([1])), source.text_parts_of(np.array([1])))


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 49), min_size=1, max_size=8), seed=st.integers(0, 2**62))
def test_a_random_prefix_belongs_to_the_row_and_leaves_a_target_after_its_last_input(
    rows: list[int], seed: int
) -> None:
    source = seen(PretrainSettings(objective="prefix"), seed)
    batch = source.batch(rows)
    assert batch.prefix is not None
    assert batch.mask is not None
    whole = CountedRows().batch(rows).mask
    assert whole is not None
    for place, row in enumerate(rows):
        alone = source.batch([row])
        assert alone.prefix is not None
        end = int(batch.prefix[place])
        assert alone.prefix[0] == end
        assert batch.mask[place, end - 1]
        assert not batch.mask[place, : end - 1].any()
        assert np.array_equal(batch.mask[place, end - 1 :], whole[place, end - 1 :])


def test_random_ends_are_uniform_and_other_seeds_give_others() -> None:
    rows = np.arange(24_000)
    batch = Batch(np.zeros((len(rows), LENGTH), np.int64), np.zeros((len(rows), LENGTH), np.int64))
    ends = random_ends(batch, rows, seed=1)
    counts = np.bincount(ends, minlength=LENGTH + 1)
    assert counts[0] == 0
    assert abs(counts[1:] - 2000).max() < 200  # 4.6 standard deviations
    assert (ends == random_ends(batch, rows, seed=2)).mean() == pytest.approx(1 / LENGTH, abs=0.01)


def test_in_finetuning_the_prefix_is_what_comes_before_the_first_answer() -> None:
    mask = np.zeros((3, 6), bool)
    mask[0, 2:4], mask[1, 0] = True, True
    batch = Batch(np.zeros((3, 6), np.int64), np.zeros((3, 6), np.int64), mask)
    assert first_answers(batch).tolist() == [3, 1, 0]
    given = seen(FinetuneSettings(objective="prefix")).batch([1, 45])
    assert given.prefix is not None
    assert given.prefix.tolist() == [1, 1]
    whole = CountedRows().batch([1, 45]).mask
    assert given.mask is not None
    assert whole is not None
    assert np.array_equal(given.mask, whole)


def test_with_prefixes_there_are_no_bits_per_byte() -> None:
    given = seen(PretrainSettings(objective="prefix"))
    assert (given.text_bytes, given.text_parts) == (None, ())


def test_batches_that_differ_in_their_prefix_alone_have_other_digests() -> None:
    rows = list(range(8))
    one, other = (seen(PretrainSettings(objective="prefix"), seed).batch(rows) for seed in (1, 2))
    bare = Batch(one.inputs, one.targets, one.mask)
    assert one.digest() != Batch(one.inputs, one.targets, one.mask, None, other.prefix).digest()
    assert one.digest() != bare.digest()
