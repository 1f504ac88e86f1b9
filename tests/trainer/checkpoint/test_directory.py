"""Checkpoints on disk: whole or not there, every damage named, the oldest removed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.checkpoint import directory as on_disk


def written(checkpoints: Path, step: int) -> Path:
    temporary = on_disk.temporary_directory(checkpoints, step)
    (temporary / "deepspeed").mkdir(parents=True)
    (temporary / "deepspeed" / "weights.pt").write_bytes(bytes(range(200)))
    (temporary / on_disk.STATE).write_text('{"step": 3}')
    return temporary


def test_a_checkpoint_bears_its_name_and_is_the_latest_only_when_it_is_whole(tmp_path: Path) -> None:
    temporary = written(tmp_path, 3)
    assert on_disk.list_checkpoints(tmp_path) == []
    published = on_disk.publish(temporary, 3)
    assert on_disk.list_checkpoints(tmp_path) == [published]
    assert (tmp_path / on_disk.LATEST).read_text() == "step_00000003\n"
    assert on_disk.damage(published) is None
    assert not temporary.exists()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(bytes(content))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: (path / "deepspeed/weights.pt").write_bytes(b"x" * 150), "150 bytes instead of 200"),
    "bit flip": (lambda path: _flip(path / "deepspeed/weights.pt"), "deepspeed/weights.pt has other content"),
    "file gone": (lambda path: (path / on_disk.STATE).unlink(), "trainer.json is missing"),
    "not sealed": (lambda path: (path / on_disk.COMPLETE).unlink(), "COMPLETE is missing"),
    "seal broken": (lambda path: (path / on_disk.COMPLETE).write_text("{}"), "COMPLETE is not readable"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_named(tmp_path: Path, kind: str) -> None:
    checkpoint = on_disk.publish(written(tmp_path, 3), 3)
    damage, message = DAMAGES[kind]
    damage(checkpoint)
    assert message in str(on_disk.damage(checkpoint))


def test_only_the_newest_are_kept_and_unfinished_ones_go(tmp_path: Path) -> None:
    for step in (5, 40, 300):
        on_disk.publish(written(tmp_path, step), step)
    written(tmp_path, 301)
    on_disk.prune(tmp_path, keep_last=2)
    on_disk.remove_temporary(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_00000040", "step_00000300"]


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    on_disk.publish(written(tmp_path, 3), 3)
    again = written(tmp_path, 3)
    (again / "deepspeed" / "weights.pt").write_bytes(b"new")
    published = on_disk.publish(again, 3)
    assert (published / "deepspeed" / "weights.pt").read_bytes() == b"new"
    assert on_disk.damage(published) is None
