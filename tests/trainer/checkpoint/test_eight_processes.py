"""Eight processes in 3D to every other layout and back: the state's hash, and the next twenty losses."""

from pathlib import Path
from typing import Any

import pytest

from tests.parallel.launcher import run_ranks
from tests.trainer.checkpoint.test_layouts import course_of, hashes
from tests.trainer.engine_process import Case, layout_of
from trainer.checkpoint.reshape import state_sha256
from trainer.ranks import Ranks

STEPS = 20
SOURCE = "data 2, tensor 2, pipeline 2"
CASES = {
    SOURCE: Case("tied", layout_of(data=2, tensor=2, pipeline=2, micro_batch_size=2)),
    "data 8": Case("tied", layout_of(data=8)),
    "tensor 4, data 2": Case("tied", layout_of(tensor=4, data=2)),
    "pipeline 4, data 2": Case("tied", layout_of(pipeline=4, data=2, micro_batch_size=1)),
}
ALONE = "one process"


def train(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Losses after the checkpoint of the 3D layout, in each layout, and in the first one again from what each saved."""
    first = {SOURCE: CASES[SOURCE]}
    losses = course_of(ranks, first, folder, True, STEPS)
    others = {name: case for name, case in CASES.items() if name != SOURCE}
    link(ranks, folder, dict.fromkeys([*others, ALONE], SOURCE))
    losses |= course_of(ranks, others, folder, False, STEPS)
    back = {f"back from {name}": CASES[SOURCE] for name in others}
    link(ranks, folder, {f"back from {name}": f"{name}, again" for name in others})
    return losses | course_of(ranks, back, folder, False, STEPS)


def link(ranks: Ranks, folder: Path, names: dict[str, str]) -> None:
    if ranks.is_first:
        for name, target in names.items():
            (folder / name).symlink_to(folder / target, target_is_directory=True)
    ranks.barrier()


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[float]]]:
    folder = tmp_path_factory.mktemp("eight")
    losses: dict[str, list[float]] = run_ranks(8, train, folder, timeout=300)[0]
    (alone,) = run_ranks(1, course_of, {ALONE: Case("tied", layout_of())}, folder, False, STEPS)
    return folder, losses | alone


def test_the_state_is_the_same_in_every_layout(courses: tuple[Path, dict[str, list[float]]]) -> None:
    folder, losses = courses
    expected = state_sha256(hashes(folder / SOURCE))
    for name in losses:
        if name != SOURCE:
            assert state_sha256(hashes(folder / f"{name}, again")) == expected, name


def test_the_next_twenty_losses_agree_and_in_the_same_layout_they_are_equal(
    courses: tuple[Path, dict[str, list[float]]],
) -> None:
    _, losses = courses
    expected = losses[SOURCE]
    assert len(set(expected)) == STEPS, "the losses are of different batches"
    for name, found in losses.items():
        assert found == pytest.approx(expected, abs=1e-5), name
        if name.startswith("back from"):
            assert found == expected, name
