"""The learning rate: warm-up to the peak, down to the final rate, nowhere outside."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.optim.schedule import learning_rate
from trainer.settings import ScheduleSettings

DOWN = ("cosine", "wsd", "linear")
KINDS = (*DOWN, "inverse_sqrt", "constant")


def rates(steps: int, **fields: object) -> list[float]:
    settings = ScheduleSettings.model_validate(fields)
    return [learning_rate(settings, 2.0, step, steps) for step in range(steps)]


@pytest.mark.parametrize("kind", DOWN)
def test_it_rises_to_the_peak_in_the_last_step_of_warm_up_and_ends_at_the_final_rate(kind: str) -> None:
    found = rates(100, kind=kind, warmup_steps=10, final_fraction=0.1)
    assert found[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert found[-1] == pytest.approx(0.2)
    assert max(found) == pytest.approx(2.0)


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert rates(100, warmup_steps=0, final_fraction=0.0)[49] == pytest.approx(1.0)


def test_wsd_stays_at_the_peak_until_its_decay() -> None:
    found = rates(100, kind="wsd", warmup_steps=10, decay_fraction=0.2, final_fraction=0.0)
    assert found[9:80] == pytest.approx([2.0] * 71)
    assert found[89] == pytest.approx(1.0)


def test_wsd_decays_in_the_last_fifth_where_the_settings_do_not_say() -> None:
    found = rates(100, kind="wsd", warmup_steps=10)
    assert found == rates(100, kind="wsd", warmup_steps=10, decay_fraction=0.2)


def test_constant_stays_at_the_peak_after_warm_up() -> None:
    assert rates(50, kind="constant", warmup_steps=2) == [1.0, *[2.0] * 49]


def test_inverse_square_root_is_that_of_the_transformer() -> None:
    # Vaswani et al. 2017, eq. 3: min(step^-0.5, step x warmup^-1.5), here with the peak set to 2.
    formula = [min(step**-0.5, step * 25**-1.5) for step in range(1, 201)]
    assert rates(200, kind="inverse_sqrt", warmup_steps=25) == pytest.approx([2.0 * 5.0 * rate for rate in formula])


def test_inverse_square_root_can_end_in_a_line_to_the_final_rate() -> None:
    found = rates(100, kind="inverse_sqrt", warmup_steps=10, decay_fraction=0.2, final_fraction=0.0)
    plain = rates(100, kind="inverse_sqrt", warmup_steps=10)
    assert found[:80] == plain[:80]
    assert found[89] == pytest.approx(plain[79] / 2)
    assert found[99] == 0.0


def test_inverse_square_root_without_warm_up_begins_at_the_peak() -> None:
    assert rates(4, kind="inverse_sqrt", warmup_steps=0) == pytest.approx([2.0, 2 / 2**0.5, 2 / 3**0.5, 1.0])


@given(
    kind=st.sampled_from(KINDS),
    steps=st.integers(1, 300),
    warmup=st.none() | st.integers(0, 400),
    final=st.floats(0, 1),
    decay=st.none() | st.floats(0.01, 1),
)
def test_it_is_never_negative_above_the_peak_or_rising_after_warm_up(
    kind: str, steps: int, warmup: int | None, final: float, decay: float | None
) -> None:
    found = rates(steps, kind=kind, warmup_steps=warmup, final_fraction=final, decay_fraction=decay)
    assert all(0.0 <= rate <= 2.0 + 1e-12 for rate in found)
    after = found[round(0.02 * steps) if warmup is None else warmup :]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(after))
