"""Which steps are skipped, when a run goes back, and that all of it survives a restart."""

import json
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from trainer.settings.stability import StabilitySettings
from trainer.stability import SpikeGuard, mean_and_deviation

CALM = [2.0, 2.1, 1.9, 2.05]
NORMS = [1.0, 1.1, 0.9, 1.0]


def guard(**settings: object) -> SpikeGuard:
    return SpikeGuard(StabilitySettings.model_validate({"skip_sigma": 3.0, "window": 4, **settings}))


def warmed(**settings: object) -> SpikeGuard:
    found = guard(**settings)
    for step, (loss, norm) in enumerate(zip(CALM, NORMS, strict=True), 1):
        assert found.judge(step, loss, norm).action == "take"
    return found


def test_a_loss_above_the_limit_is_skipped_and_the_event_says_by_how_much() -> None:
    limit = statistics.mean(CALM) + 3 * statistics.stdev(CALM)
    assert warmed().judge(5, limit * 0.999, 1.0).action == "take"
    decision = warmed().judge(5, limit * 1.001, 1.0)
    assert decision.action == "skip"
    assert decision.message.startswith("step 5: the loss ")
    assert f"{limit:.5g} ({statistics.mean(CALM):.5g} + 3 sigma)" in decision.message


def test_a_gradient_norm_above_the_limit_is_skipped_too() -> None:
    decision = warmed().judge(5, 2.0, 9.0)
    assert decision.action == "skip"
    assert "gradient norm 9 is above" in decision.message


def test_sudden_low_values_are_taken() -> None:
    assert warmed().judge(5, 0.01, 0.01).action == "take"


def test_nothing_is_skipped_before_the_window_is_full() -> None:
    young = guard()
    for step, loss in enumerate([2.0, 2.0, 50.0], 1):
        assert young.judge(step, loss, 1.0).action == "take"


def test_without_a_sigma_nothing_finite_is_skipped() -> None:
    assert warmed(skip_sigma=None).judge(5, 1e9, 1e9).action == "take"


def test_spikes_do_not_widen_the_window() -> None:
    calm = warmed()
    for step in (5, 6, 7):
        assert calm.judge(step, 50.0, 1.0).action == "skip"
    assert (calm.skips, calm.skips_in_row) == (3, 3)
    assert calm.judge(8, 2.0, 1.0).action == "take"
    assert (calm.skips, calm.skips_in_row) == (3, 0)
    assert calm.judge(9, 50.0, 1.0).action == "skip"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_ends_the_run_or_is_skipped_as_asked(value: float) -> None:
    with pytest.raises(UserError, match=rf"the loss is {value} at step 1: lower optimizer.lr"):
        guard().judge(1, value, 1.0)
    with pytest.raises(UserError, match=rf"the gradient norm is {value} at step 1"):
        guard().judge(1, 2.0, value)
    assert guard(skip_not_finite=True, skip_sigma=None).judge(1, value, 1.0).action == "skip"
    assert guard(skip_not_finite=True).judge(1, 2.0, value).message == f"step 1: the gradient norm is {value}"


def test_so_many_skips_in_a_row_ask_for_a_rollback() -> None:
    calm = warmed(rollback_after=3)
    assert [calm.judge(step, 50.0, 1.0).action for step in (5, 6, 7)] == ["skip", "skip", "roll back"]
    broken = warmed(rollback_after=2)
    actions = [broken.judge(step, loss, 1.0).action for step, loss in ((5, 50.0), (6, 2.0), (7, 50.0), (8, 50.0))]
    assert actions == ["skip", "take", "skip", "roll back"]


def test_without_rollback_skips_that_do_not_end_are_an_error() -> None:
    calm = warmed()
    for step in (5, 6, 7):
        calm.judge(step, 50.0, 1.0)
    with pytest.raises(UserError, match=r"step 8: the loss 50 is above .* the 3 steps before: this is no spike"):
        calm.judge(8, 50.0, 1.0)


losses = st.lists(st.one_of(st.floats(0.1, 20.0), st.just(math.nan), st.floats(1e3, 1e6)), min_size=12, max_size=40)


@given(losses, st.integers(0, 40))
def test_a_guard_restored_from_json_at_any_step_decides_as_one_that_went_on(values: list[float], cut: int) -> None:
    def judged(found: SpikeGuard, step: int) -> tuple[str, str]:
        try:
            decision = found.judge(step, values[step], values[-step - 1])
        except UserError as error:
            return "ended", str(error)
        return decision.action, decision.message

    settings: dict[str, object] = {"skip_not_finite": True, "rollback_after": 3, "skip_sigma": 2.0}
    whole, part = guard(**settings), guard(**settings)
    for step in range(len(values)):
        if step == cut:
            saved = json.loads(json.dumps(part.state()))
            part = guard(**settings)
            part.restore(saved)
        assert judged(whole, step) == judged(part, step)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_mean_and_deviation_are_those_of_the_standard_library(values: list[float]) -> None:
    mean, deviation = mean_and_deviation(values)
    assert mean == pytest.approx(statistics.mean(values), abs=1e-9)
    assert deviation == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-9)
