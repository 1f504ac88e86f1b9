"""From any layout to any other through files, with the real engine: the same state, the same course afterwards."""

from pathlib import Path
from typing import Any

import pytest

from tests.parallel.launcher import run_ranks
from tests.trainer.engine_process import Case, gradient_of_step, layout_of, make_engine
from tests.trainer.ragged import rate_of
from trainer.checkpoint.choose import choose_checkpoint
from trainer.checkpoint.reading import StateReader
from trainer.checkpoint.reshape import hashes_of, layout_of_world, reshape, state_sha256
from trainer.checkpoint.restore import restore
from trainer.checkpoint.seal import damage
from trainer.checkpoint.writer import CheckpointWriter
from trainer.engine import TrainingEngine
from trainer.model.declaration import declare_parameters
from trainer.ranks import Ranks
from trainer.settings import AdafactorSettings, MuonSettings

ADAFACTOR = (("optimizer", AdafactorSettings(kind="adafactor", lr=0.01, beta1=0.9)),)
MUON = (("optimizer", MuonSettings(kind="muon", lr=0.01)),)
FOUR = {
    "data 2, tensor 2": Case("untied", layout_of(data=2, tensor=2, micro_batch_size=2)),
    "data 2, pipeline 2": Case("untied", layout_of(data=2, pipeline=2, micro_batch_size=2)),
    "tensor 2, pipeline 2": Case("untied", layout_of(tensor=2, pipeline=2, micro_batch_size=2)),
    "data 4, ZeRO 3": Case("untied", layout_of(data=4, zero=3)),
    "data 4, ZeRO 0": Case("untied", layout_of(data=4, zero=0)),
    "Adafactor, data 2, tensor 2": Case("untied", layout_of(data=2, tensor=2), ADAFACTOR),
    "Muon, data 2, pipeline 2": Case("untied", layout_of(data=2, pipeline=2, micro_batch_size=2), MUON),
}
"""Each goes on from the checkpoint of one process, and writes one that one process goes on from."""
ONE = {
    "AdamW": Case("untied", layout_of()),
    "Adafactor": Case("untied", layout_of(), ADAFACTOR),
    "Muon": Case("untied", layout_of(), MUON),
}
BEFORE, AFTER = 2, 3
"""Steps until the first checkpoint, and from each checkpoint on."""


def kind_of(name: str) -> str:
    return next((kind for kind in ("Adafactor", "Muon") if name.startswith(kind)), "AdamW")


def steps(engine: TrainingEngine, ranks: Ranks, numbers: range) -> list[float]:
    losses = []
    for number in numbers:
        losses.append(gradient_of_step(engine, ranks, number))
        engine.gradient_norm()
        engine.step(rate_of(number))
    return losses


def save(engine: TrainingEngine, ranks: Ranks, folder: Path) -> None:
    writer = CheckpointWriter(folder, ranks, declare_parameters(engine.shape), lambda *_, **__: None)
    state = {"step": engine.optimizer_steps, "model": engine.shape.model_dump(mode="json")}
    writer.save(engine.state_pieces(for_saving=True), state)
    steps(engine, ranks, range(5, 6))  # the state changes while it is written
    writer.finish()


def load(engine: TrainingEngine, ranks: Ranks, folder: Path) -> int:
    found = choose_checkpoint(folder, ranks, _fail)
    assert found is not None
    with StateReader(found) as reader:
        restore(reader, engine.state_pieces(for_saving=False), declare_parameters(engine.shape))
    done = int(found.name[5:])
    engine.finish_loading(done)
    return done


def _fail(message: str) -> None:
    raise AssertionError(message)


def course_of(ranks: Ranks, cases: dict[str, Case], folder: Path, begin: bool, after: int = AFTER) -> dict[str, Any]:
    """Train each case from the start or its checkpoint on, save in the middle; losses after the saved step."""
    losses = {}
    for name, case in cases.items():
        engine = make_engine(ranks, case)
        if begin:
            steps(engine, ranks, range(BEFORE))
            save(engine, ranks, folder / name)
            engine.close()
            engine = make_engine(ranks, case)
        done = load(engine, ranks, folder / name)
        if begin:
            losses[name] = steps(engine, ranks, range(done, done + after))
        else:
            save(engine, ranks, folder / f"{name}, again")
            engine.close()
            engine = make_engine(ranks, case)
            load(engine, ranks, folder / name)
            losses[name] = steps(engine, ranks, range(done, done + after))
        engine.close()
    return losses


def hashes(folder: Path) -> dict[Any, str]:
    (path,) = folder.glob("step_*")
    assert damage(path) is None
    with StateReader(path) as reader:
        return hashes_of(reader)


@pytest.fixture(scope="module")
def there_and_back(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """One process saves; four go on from it in each layout and save what they loaded."""
    folder = tmp_path_factory.mktemp("layouts")
    (alone,) = run_ranks(1, course_of, ONE, folder, True)
    for name in FOUR:
        (folder / name).symlink_to(folder / kind_of(name), target_is_directory=True)
    four = run_ranks(4, course_of, FOUR, folder, False)[0]
    return folder, alone, four


@pytest.mark.parametrize("name", FOUR)
def test_another_layout_has_the_same_state_and_goes_the_same_way(
    there_and_back: tuple[Path, dict[str, Any], dict[str, Any]], name: str
) -> None:
    folder, alone, four = there_and_back
    before, after = hashes(folder / kind_of(name)), hashes(folder / f"{name}, again")
    assert state_sha256(after) == state_sha256(before)
    assert after == before
    assert four[name] == pytest.approx(alone[kind_of(name)], abs=1e-5)
    assert len(set(alone[kind_of(name)])) == AFTER


def test_a_reshaped_checkpoint_of_each_optimizer_holds_the_same_state(
    there_and_back: tuple[Path, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    folder, _, _ = there_and_back
    for name in FOUR:
        (path,) = (folder / f"{name}, again").glob("step_*")
        done = reshape(path, layout_of_world(2, 2, 2, 1), tmp_path / name)
        assert done.state_sha256 == state_sha256(hashes(folder / kind_of(name)))
