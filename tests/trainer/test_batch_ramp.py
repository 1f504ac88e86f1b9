"""The batch ramp: it only grows, it ends full, and no sample is lost or seen twice."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.batch_ramp import BatchRamp
from trainer.data.mixture import MixtureOrder, MixturePlan, Share
from trainer.data.order import SampleOrder
from trainer.optim.schedule import learning_rate
from trainer.parallel.layout import Layout
from trainer.settings import BatchRampSettings, PretrainSettings, ScheduleSettings

ramps = st.builds(
    lambda start, growth, increment, over: BatchRamp(start + growth, start=start, over=over, increment=increment),
    start=st.integers(1, 40),
    growth=st.integers(0, 200),
    increment=st.none() | st.integers(1, 50),
    over=st.integers(0, 5000),
)


def walk(ramp: BatchRamp, steps: int) -> list[int]:
    return [ramp.rows_of_step(step) for step in range(steps)]


def full_from(ramp: BatchRamp) -> int:
    """The first step that has a full batch."""
    return next(step for step in itertools.count() if ramp.rows_of_step(step) == ramp.rows_per_step)


def test_without_a_ramp_every_step_is_full() -> None:
    batches = BatchRamp(12)
    assert walk(batches, 3) == [12, 12, 12]
    assert batches.samples_before(7) == 84
    assert [batches.steps_within(samples) for samples in (11, 12, 83, 84)] == [0, 1, 6, 7]


def test_the_batch_grows_in_a_straight_line_by_the_samples_seen() -> None:
    # Three stairs of 40 samples each: 4 rows up to sample 40, 8 up to 80, 12 up to 120, then 16.
    ramp = BatchRamp(16, start=4, over=120)
    assert walk(ramp, 20) == [4] * 10 + [8] * 5 + [12] * 4 + [16]
    assert (ramp.sizes, full_from(ramp)) == ([4, 8, 12, 16], 19)


def test_the_ramp_of_gpt_3_goes_from_32_thousand_to_3_2_million_tokens_over_its_billions() -> None:
    settings = PretrainSettings(
        global_batch_tokens=3_276_800,
        tokens=300_000_000_000,
        batch_ramp=BatchRampSettings(start_tokens=32_768, over_tokens=12_000_000_000),
    )
    batches = settings.batches(2048)
    assert (batches.rows_of_step(0), batches.rows_per_step) == (16, 1600)
    halfway = batches.rows_of_step(batches.steps_within(6_000_000_000 // 2048))
    assert halfway == pytest.approx(800, abs=16)
    assert batches.samples_before(full_from(batches)) * 2048 == pytest.approx(12e9, rel=1e-3)
    steps = settings.total_steps(10**9, 2048)
    seen = batches.samples_before(steps) * 2048
    assert seen <= 300_000_000_000 < seen + 3_276_800


@given(ramp=ramps, steps=st.integers(1, 300))
def test_it_only_grows_to_the_full_batch_and_each_step_follows_from_the_samples_before_it(
    ramp: BatchRamp, steps: int
) -> None:
    rows = walk(ramp, steps)
    assert [ramp.samples_before(step) for step in range(steps + 1)] == [0, *itertools.accumulate(rows)]
    assert all(earlier <= later for earlier, later in itertools.pairwise(rows))
    assert ramp.rows_of_step(full_from(ramp) + steps) == ramp.rows_per_step
    assert max(rows) <= ramp.rows_per_step


@given(start=st.integers(1, 30), stairs=st.integers(1, 12), increment=st.integers(1, 20), over=st.integers(1, 4000))
def test_it_is_the_formula_of_megatron(start: int, stairs: int, increment: int, over: int) -> None:
    full = start + stairs * increment
    ramp = BatchRamp(full, start=start, over=over, increment=increment)
    samples = 0
    for step in range(200):
        expected = full if samples >= over else start + (samples * stairs // over) * increment
        assert ramp.rows_of_step(step) == expected
        samples += expected


@given(ramp=ramps, samples=st.integers(0, 20_000))
def test_a_run_of_so_many_samples_has_the_most_whole_steps_that_fit(ramp: BatchRamp, samples: int) -> None:
    steps = ramp.steps_within(samples)
    assert ramp.samples_before(steps) <= samples < ramp.samples_before(steps + 1)


@settings(max_examples=30, deadline=None)
@given(ramp=ramps, rows=st.integers(1, 300), steps=st.integers(1, 40), skipped=st.integers(0, 50))
def test_steps_together_take_the_samples_of_a_run_without_a_ramp_in_the_same_order(
    ramp: BatchRamp, rows: int, steps: int, skipped: int
) -> None:
    plan = MixturePlan((Share("a", rows, 3 * rows, {}), Share("b", 2 * rows, rows, {})), 8)
    for ramped, single in (
        (SampleOrder(rows, ramp, seed=1), SampleOrder(rows, 1, seed=1)),
        (MixtureOrder(plan, ramp, seed=1), MixtureOrder(plan, 1, seed=1)),
    ):
        found = np.concatenate([ramped.sample_ids(step, skipped) for step in range(steps)])
        count = min(len(found), 200)
        assert found[:count].tolist() == [int(single.sample_ids(skipped + place)[0]) for place in range(count)]
        assert len(found) == ramp.samples_before(steps)


@settings(max_examples=50, deadline=None)
@given(
    copies=st.sampled_from([1, 2, 4]),
    micro=st.integers(1, 5),
    start=st.integers(1, 5),
    stairs=st.integers(0, 6),
    step=st.integers(0, 60),
)
def test_every_layout_sees_the_same_samples_of_a_step(
    copies: int, micro: int, start: int, stairs: int, step: int
) -> None:
    ramp = BatchRamp(4 * (start + stairs), start=4 * start, over=600, increment=4)
    ids = SampleOrder(500, ramp, seed=3).sample_ids(step)
    layout = Layout(copies, 1, 1, 1, ramp.rows_per_step, micro)
    parts = [ids[layout.rows_of(rank, len(ids))] for rank in range(copies)]
    pieces = [part[piece] for part in parts for piece in layout.micro_batches(len(ids))]
    assert np.array_equal(np.concatenate(pieces), ids)


@given(ramp=ramps, steps=st.integers(5, 100), warmup=st.integers(1, 5))
def test_the_learning_rate_goes_by_samples_and_warm_up_still_ends_at_its_step(
    ramp: BatchRamp, steps: int, warmup: int
) -> None:
    schedule = ScheduleSettings(kind="linear", warmup_steps=warmup, final_fraction=0.0)
    rates = [learning_rate(schedule, 1.0, step, steps, ramp) for step in range(steps)]
    assert rates[warmup - 1] == 1.0
    first = ramp.samples_before(warmup)
    assume(steps > warmup)
    for step in range(warmup, steps):
        gone = (ramp.samples_before(step + 1) - first) / (ramp.samples_before(steps) - first)
        assert rates[step] == pytest.approx(1.0 - gone, abs=1e-12)


def test_a_ramp_that_is_no_whole_number_of_rows_or_shrinks_is_refused() -> None:
    uneven = PretrainSettings(global_batch_tokens=640, batch_ramp=BatchRampSettings(start_tokens=100, over_tokens=1000))
    with pytest.raises(ValueError, match=r"batch_ramp.start_tokens 100 is no multiple .* 64; the nearest is 128"):
        uneven.batches(64)
    with pytest.raises(ValidationError, match="start_tokens 1280 is above global_batch_tokens 640: a ramp only grows"):
        PretrainSettings(global_batch_tokens=640, batch_ramp=BatchRampSettings(start_tokens=1280, over_tokens=1000))
    with pytest.raises(ValueError, match="cannot grow from 8 to 4 rows"):
        BatchRamp(4, start=8)
