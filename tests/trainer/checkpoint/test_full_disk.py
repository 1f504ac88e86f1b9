"""A disk that fills up in the middle of a save: what is there stays valid, and what is needed is told."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from tests.small_disk import mounted
from tests.trainer.checkpoint.alone import Alone
from tests.trainer.checkpoint.synthetic import Cut, declarations_of, full_state
from trainer.checkpoint.choose import choose_checkpoint
from trainer.checkpoint.seal import damage
from trainer.checkpoint.writer import CheckpointWriter
from trainer.state import StatePiece

NEEDED = 12 * sum(declaration.size for declaration in declarations_of().values())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    with mounted(tmp_path / "disk", megabytes=4) as disk:
        yield disk


def fill(disk: Path, leave: int) -> None:
    free = shutil.disk_usage(disk).free
    (disk / "other data").write_bytes(bytes(free - leave))


def save_and_wait(writer: CheckpointWriter, pieces: list[StatePiece]) -> None:
    writer.save(pieces, {"step": 2})
    writer.finish()


def _fail(message: str) -> None:
    raise AssertionError(message)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_the_last_checkpoint_stays_valid_and_the_run_goes_on_when_there_is_space(
    small_disk: Path, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: str, **__: Any) -> None:
        pass

    checkpoints = small_disk / "checkpoints"
    writer = CheckpointWriter(
        checkpoints, Alone(), list(declarations_of().values()), silent, asynchronous=asynchronous, keep_last=1
    )
    pieces = Cut(1, 1).pieces(0, full_state(1))
    writer.save(pieces, {"step": 1})
    writer.finish()
    fill(small_disk, leave=NEEDED // 2)
    # Another program takes the space after it was looked at.
    free_then = shutil.disk_usage(small_disk)._replace(free=10**9)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda _: free_then)
        with pytest.raises(UserError) as caught:
            save_and_wait(writer, pieces)
    message = str(caught.value)
    assert f"the checkpoint of step 2 could not be written to {checkpoints}: the disk is full. It needs " in message
    assert "free some space and run the same command again; step_00000001 stays valid" in message
    assert sorted(path.name for path in checkpoints.iterdir()) == ["latest", "step_00000001"]
    assert damage(checkpoints / "step_00000001") is None
    assert shutil.disk_usage(small_disk).free >= NEEDED // 2 - 4096, "no rubbish fills the disk"
    with pytest.raises(UserError, match=r"It needs [0-9,]+ bytes, [0-9,]+ are free"):
        writer.save(pieces, {"step": 2})
    (small_disk / "other data").unlink()
    writer.save(pieces, {"step": 2})
    writer.settle()
    assert choose_checkpoint(checkpoints, Alone(), _fail) == checkpoints / "step_00000002"
