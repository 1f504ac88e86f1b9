"""Processes killed at random moments of steps, saves, validations and loads; bench.resume does it with more seeds."""

import pytest

from bench.resume_run import CHECKPOINT_EVERY, LAYOUTS, Runs

SEEDS = range(5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("kills"))


@pytest.mark.parametrize("number", range(len(LAYOUTS)))
def test_the_undisturbed_run_goes_back_once(runs: Runs, number: int) -> None:
    (said,) = runs.undisturbed(number).messages("rollback")
    assert "back to step 15; the 32 samples since then are left out" in said


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_run_goes_on_from_its_newest_checkpoint_and_ends_bit_equal(runs: Runs, seed: int) -> None:
    found = runs.survive(seed)
    assert not found.faults, found
    assert found.kills
    assert max(found.steps_lost) <= 2 * CHECKPOINT_EVERY
