"""Mixtures: exact counts, no row twice within an epoch, nothing but the place in the run decides."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import UserError
from trainer.data.mixture import BLOCK_ROWS, MixtureOrder, MixturePlan, Share, apportion, plan_mixture
from trainer.data.order import SampleOrder
from trainer.parallel.layout import Layout
from trainer.settings import MixtureDataset, PretrainSettings

CONTEXT = 10


def plan_of(*drawn: int, rows: tuple[int, ...] | None = None) -> MixturePlan:
    sizes = rows or tuple(max(1, count // 3 + 1) for count in drawn)
    shares = [Share(f"d{place}", size, count, {}) for place, (size, count) in enumerate(zip(sizes, drawn, strict=True))]
    return MixturePlan(tuple(shares), CONTEXT)


def whole_run(plan: MixturePlan, seed: int = 0, rows_per_step: int = 300) -> np.ndarray:
    order = MixtureOrder(plan, rows_per_step, seed)
    steps = -(-plan.rows // rows_per_step)
    return np.concatenate([order.sample_ids(step) for step in range(steps)])[: plan.rows]


def dataset_of(plan: MixturePlan, ids: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.cumsum([share.rows for share in plan.shares]), ids, side="right")


draws = st.lists(st.integers(1, 3000), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(drawn=draws, seed=st.integers(0, 99))
def test_a_run_draws_of_each_dataset_exactly_what_is_planned_epoch_after_epoch(drawn: list[int], seed: int) -> None:
    plan = plan_of(*drawn)
    ids = whole_run(plan, seed)
    found = dataset_of(plan, ids)
    first = 0
    for number, share in enumerate(plan.shares):
        rows = ids[found == number] - first
        first += share.rows
        assert len(rows) == share.drawn
        for start in range(0, len(rows), share.rows):
            epoch = rows[start : start + share.rows]
            assert len(np.unique(epoch)) == len(epoch)


@settings(max_examples=40, deadline=None)
@given(drawn=draws)
def test_at_the_end_of_each_block_every_dataset_is_exact_to_less_than_a_row(drawn: list[int]) -> None:
    plan = plan_of(*drawn)
    found = dataset_of(plan, whole_run(plan))
    block = max(BLOCK_ROWS, -(-plan.rows // min(drawn)))
    for end in range(block, plan.rows + 1, block):
        for number, share in enumerate(plan.shares):
            assert abs((found[:end] == number).sum() - share.drawn * end / plan.rows) < 1


@settings(max_examples=40, deadline=None)
@given(drawn=draws, step=st.integers(0, 2000), seed=st.integers(0, 9), rows_per_step=st.integers(1, 40))
def test_a_steps_rows_follow_from_its_number_alone(drawn: list[int], step: int, seed: int, rows_per_step: int) -> None:
    plan = plan_of(*drawn)
    used = MixtureOrder(plan, rows_per_step, seed)
    for other in (0, step + 5, step - 1 if step else 3):
        used.sample_ids(other)
    assert np.array_equal(used.sample_ids(step), MixtureOrder(plan, rows_per_step, seed).sample_ids(step))
    single = MixtureOrder(plan, 1, seed)
    places = range(step * rows_per_step, (step + 1) * rows_per_step)
    assert used.sample_ids(step).tolist() == [int(single.sample_ids(place)[0]) for place in places]


@settings(max_examples=20, deadline=None)
@given(step=st.integers(0, 50), data=st.sampled_from([1, 2, 3, 4, 6]), micro=st.integers(1, 5))
def test_processes_and_micro_batches_share_the_same_rows(step: int, data: int, micro: int) -> None:
    rows = MixtureOrder(plan_of(500, 300, 17), 24, seed=3).sample_ids(step)
    layout = Layout(data, 1, 1, 1, 24, micro)
    parts = [rows[layout.rows_of(rank)] for rank in range(data)]
    pieces = [part[piece] for part in parts for piece in layout.micro_batches()]
    assert np.array_equal(np.sort(np.concatenate(pieces)), np.sort(rows))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 400), drawn=st.integers(1, 3000), batch=st.integers(1, 50), seed=st.integers(0, 99))
def test_one_dataset_is_drawn_as_without_a_mixture(rows: int, drawn: int, batch: int, seed: int) -> None:
    mixture, plain = MixtureOrder(plan_of(drawn, rows=(rows,)), batch, seed), SampleOrder(rows, batch, seed)
    for step in (0, 1, drawn // batch, drawn // batch + 3):
        assert np.array_equal(mixture.sample_ids(step), plain.sample_ids(step))


def test_datasets_alternate_within_a_block_in_an_order_of_the_seed() -> None:
    plan = plan_of(1000, 1000, rows=(1000, 1000))
    one, other = (dataset_of(plan, whole_run(plan, seed)) for seed in (1, 2))
    assert not np.array_equal(one, other)
    # Two fair coins differ half of the time; runs of one dataset are as long as chance makes them.
    assert 900 < np.count_nonzero(np.diff(one)) < 1100


def test_two_datasets_of_one_size_are_gone_through_in_different_orders() -> None:
    plan = plan_of(100, 100, rows=(100, 100))
    ids = whole_run(plan)
    assert not np.array_equal(ids[ids < 100], ids[ids >= 100] - 100)


def test_a_rare_dataset_makes_blocks_longer_and_comes_once_in_each() -> None:
    plan = plan_of(50_000, 5)
    found = dataset_of(plan, whole_run(plan, rows_per_step=1000))
    assert [int(part.sum()) for part in np.array_split(found, 5)] == [1] * 5


@given(seats=st.integers(0, 10**12), weights=st.lists(st.integers(1, 10**9), min_size=1, max_size=6))
def test_seats_are_given_out_in_proportion_to_less_than_one(seats: int, weights: list[int]) -> None:
    given_out = apportion(seats, weights)
    assert sum(given_out) == seats
    for count, weight in zip(given_out, weights, strict=True):
        assert abs(count * sum(weights) - seats * weight) < sum(weights)


# --- the plan ---


def planned(*entries: dict[str, Any], rows: tuple[int, ...] = (100, 100), steps: int = 10) -> list[int]:
    mixture = [MixtureDataset(name=f"d{place}", **entry) for place, entry in enumerate(entries)]
    splits = [{"rows": count, "target_tokens": count * CONTEXT} for count in rows]
    return [share.drawn for share in plan_mixture(mixture, splits, 10 * steps, 10, CONTEXT).shares]


def test_weights_divide_the_run() -> None:
    assert planned({"weight": 3}, {"weight": 1}) == [75, 25]
    assert planned({"weight": 1}, {"weight": 1}, {"weight": 1}, rows=(50, 50, 50)) == [34, 33, 33]


def test_budgets_are_taken_off_before_weights() -> None:
    assert planned({"tokens": 205}, {"weight": 1}, {"weight": 1}, rows=(50, 50, 50)) == [20, 40, 40]


def test_budgets_that_miss_the_run_by_less_than_a_step_are_evened_out() -> None:
    assert planned({"tokens": 600}, {"tokens": 450}) == [57, 43]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (({"tokens": 700}, {"tokens": 900}), r"700 of d0 \+ 900 of d1\) are 1,600 tokens .* run has 1,000: lower"),
        (({"tokens": 200}, {"tokens": 300}), r"are 500 tokens .*run has 1,000, so 500 have no dataset: raise"),
        (({"tokens": 1000}, {"weight": 1}), r"run has 1,000, so nothing is left for weights"),
        (({"weight": 1, "max_epochs": 0.4}, {"weight": 1}), r"d0 would be gone through 0.50 times \(500 tokens drawn "
         r"of 1,000\), its max_epochs is 0.4: lower its weight or budget to at most 400 tokens"),
        (({"weight": 1e-5}, {"weight": 1}), r"d0 would give 0 of 100 rows, too few"),
    ],
)  # fmt: skip
def test_a_mixture_that_cannot_be_drawn_is_refused_with_the_arithmetic(
    entries: tuple[dict[str, Any], ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        planned(*entries)


def test_by_default_no_dataset_is_gone_through_more_than_four_times() -> None:
    assert planned({"weight": 1}, {"weight": 1}, rows=(125, 1000), steps=100) == [500, 500]
    with pytest.raises(UserError, match=r"d0 would be gone through 4.03 times .*max_epochs is 4"):
        planned({"weight": 1}, {"weight": 1}, rows=(124, 1000), steps=100)


def test_the_table_tells_tokens_by_dataset_and_source_with_epochs() -> None:
    splits = [
        {"rows": 50, "target_tokens": 500, "sources": {"web": {"tokens": 400}, "code": {"tokens": 100}}},
        {"rows": 200, "target_tokens": 2000, "sources": {"books": {"tokens": 2000}}},
    ]
    mixture = [MixtureDataset(name="a", weight=1), MixtureDataset(name="b", weight=3)]
    table = plan_mixture(mixture, splits, 400, 10, CONTEXT).table()
    assert [(line["dataset"], line["source"], line["tokens"], line["epochs"]) for line in table] == [
        ("a", "code", 200, 2.0),
        ("a", "web", 800, 2.0),
        ("b", "books", 3000, 1.5),
    ]
    assert sum(line["share"] for line in table) == pytest.approx(1)


# --- the settings ---


def pretraining(*entries: dict[str, Any], **fields: Any) -> PretrainSettings:
    return PretrainSettings.model_validate({"global_batch_tokens": 100, "mixture": entries, **fields})


def test_where_all_datasets_have_budgets_their_sum_is_the_length_of_the_run() -> None:
    assert pretraining({"name": "a", "tokens": 250}, {"name": "b", "tokens": 390}).total_steps(1000, CONTEXT) == 6


@pytest.mark.parametrize(
    ("entries", "fields", "message"),
    [
        (({"name": "a"},), {}, "give a a weight or a budget of tokens, not both or none"),
        (({"name": "a", "weight": 1, "tokens": 5},), {}, "not both or none"),
        (({"name": "a", "weight": 1}, {"name": "a", "weight": 1}), {"steps": 5}, "names must differ, got a, a"),
        (({"name": "a", "weight": 1}, {"name": "b", "weight": 1}), {}, "the run's length must be given"),
        (({"name": "a", "weight": 1}, {"name": "b", "weight": 1}), {"epochs": 2}, "epochs has no meaning"),
    ],
)
def test_settings_that_contradict_are_refused(
    entries: tuple[dict[str, Any], ...], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        pretraining(*entries, **fields)
