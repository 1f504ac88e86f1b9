"""Checkpoints on disk: whole or not there, every damage of every file named, the oldest removed."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UserError
from tests.trainer.checkpoint.alone import Alone
from tests.trainer.checkpoint.synthetic import Cut, full_state, write_checkpoint
from trainer.checkpoint import directory as on_disk
from trainer.checkpoint import seal
from trainer.checkpoint.choose import choose_checkpoint, damage_of_share
from trainer.checkpoint.index import INDEX, STATE_FOLDER
from trainer.checkpoint.seal import COMPLETE, STATE, damage

CUT = Cut(2, 2)
FILES = [*(f"{STATE_FOLDER}/rank_{rank:05d}.safetensors" for rank in range(CUT.world)), INDEX, STATE, COMPLETE]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    for step in (3, 6):
        write_checkpoint(folder, step, CUT, full_state(step))
    return folder


@pytest.fixture
def checkpoints(two: Path, tmp_path: Path) -> Path:
    """Two whole checkpoints, of steps 3 and 6."""
    shutil.copytree(two, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def chosen(checkpoints: Path) -> tuple[Path | None, list[str]]:
    warnings: list[str] = []
    return choose_checkpoint(checkpoints, Alone(), warnings.append), warnings


def test_a_checkpoint_bears_its_name_and_is_the_latest_only_when_it_is_whole(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, 3, CUT, full_state(1))
    assert on_disk.list_checkpoints(tmp_path) == [checkpoint]
    assert (tmp_path / on_disk.LATEST).read_text() == "step_00000003\n"
    assert sorted(seal.files_of(checkpoint)) == sorted(set(FILES) - {COMPLETE})
    assert damage(checkpoint) is None
    assert not list(tmp_path.glob(".tmp-*"))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    draw = random.Random(path.name)
    # Spaces and line ends between the words of JSON may change without changing what it says.
    places = [at for at, byte in enumerate(content) if byte not in b" \n"]
    content[draw.choice(places)] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"0")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "bit flip": flip_a_bit,
    "truncated": truncate,
    "emptied": lambda path: path.write_bytes(b""),
    "too long": append,
    "gone": Path.unlink,
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_of_every_file_is_named_and_the_checkpoint_before_is_used(
    checkpoints: Path, file: str, kind: str
) -> None:
    newest, before = on_disk.list_checkpoints(checkpoints)
    DAMAGES[kind](newest / file)
    found, warnings = chosen(checkpoints)
    assert found == before
    (warning,) = warnings
    assert warning.startswith(f"checkpoint {newest} is damaged ({file} ")
    assert warning.endswith("using the one before it")


def test_of_the_oldest_none_is_said_to_come_before(checkpoints: Path) -> None:
    warnings: list[str] = []
    for path in on_disk.list_checkpoints(checkpoints):
        (path / COMPLETE).unlink()
    with pytest.raises(UserError, match="are damaged: remove the directory"):
        choose_checkpoint(checkpoints, Alone(), warnings.append)
    assert [line.rpartition(": ")[2] for line in warnings] == ["using the one before it", "there is none before it"]


def test_every_bit_of_the_seal_counts(checkpoints: Path) -> None:
    newest = on_disk.list_checkpoints(checkpoints)[0]
    content = (newest / COMPLETE).read_bytes()
    for number in range(0, 8 * len(content), 41):
        flipped = bytearray(content)
        flipped[number // 8] ^= 1 << number % 8
        (newest / COMPLETE).write_bytes(bytes(flipped))
        problem = damage(newest, only=())
        assert problem is not None or json.loads(bytes(flipped)) == json.loads(content)


def reseal(checkpoint: Path, **changes: object) -> None:
    """Forge a seal with a checksum of its own that fits."""
    content = {**json.loads((checkpoint / COMPLETE).read_text()), **changes}
    seal.write_seal(checkpoint, content["step"], content["files"])


def test_a_seal_that_names_fewer_files_or_another_step_is_found(checkpoints: Path) -> None:
    newest, before = on_disk.list_checkpoints(checkpoints)
    files = json.loads((newest / COMPLETE).read_text())["files"]
    reseal(newest, files={})
    assert damage(newest) == f"{COMPLETE} does not list {INDEX}"
    reseal(newest, files={name: files[name] for name in files if name != FILES[0]})
    assert damage(newest) == f"{FILES[0]} is not listed in {COMPLETE}"
    (newest / FILES[0]).unlink()
    assert damage(newest) == f"{FILES[0]}, which {INDEX} needs, is not listed in {COMPLETE}"
    shutil.copyfile(before / COMPLETE, newest / COMPLETE)
    assert damage(newest) == f"{COMPLETE} is that of {before.name}"


def test_a_file_that_does_not_belong_is_found(checkpoints: Path) -> None:
    newest = on_disk.list_checkpoints(checkpoints)[0]
    (newest / STATE_FOLDER / "rank_00004.safetensors").write_bytes(b"x")
    assert damage(newest) == f"{STATE_FOLDER}/rank_00004.safetensors is not listed in {COMPLETE}"


def test_processes_share_the_reading_and_together_they_find_everything(checkpoints: Path) -> None:
    newest = on_disk.list_checkpoints(checkpoints)[0]
    flip_a_bit(newest / FILES[1])
    found = [damage_of_share(newest, rank, 3) for rank in range(3)]
    assert sum(problem is not None for problem in found) == 1


def test_when_all_are_damaged_that_is_an_error_and_no_new_beginning(checkpoints: Path) -> None:
    for checkpoint in on_disk.list_checkpoints(checkpoints):
        (checkpoint / COMPLETE).unlink()
    with pytest.raises(UserError, match=r"all checkpoints in .* are damaged: remove the directory"):
        chosen(checkpoints)


def test_a_place_that_cannot_hold_checkpoints_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(UserError, match=r"checkpoints cannot hold checkpoints \(.*File exists.*\): make it a folder"):
        chosen(tmp_path / "checkpoints")


def test_without_a_checkpoint_there_is_none_and_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".tmp-step_00000003-abc" / STATE_FOLDER).mkdir(parents=True)
    (tmp_path / ".tmp-latest-1-2").write_text("x")
    assert chosen(tmp_path) == (None, [])
    assert list(tmp_path.iterdir()) == []


def test_only_the_newest_and_the_permanent_ones_are_kept(tmp_path: Path) -> None:
    for step in (5, 40, 300, 310):
        write_checkpoint(tmp_path, step, Cut(1, 1), full_state(step))
    removed = on_disk.prune(tmp_path, keep_last=1, keep_every=20, spare=["step_00000005"])
    assert [path.name for path in removed] == []
    removed = on_disk.prune(tmp_path, keep_last=1, keep_every=20)
    assert [path.name for path in removed] == ["step_00000005"]
    removed = on_disk.prune(tmp_path, keep_last=2, newest=300)
    assert [path.name for path in removed] == ["step_00000310"]
    assert [path.name for path in on_disk.list_checkpoints(tmp_path)] == ["step_00000300", "step_00000040"]


def test_names_that_are_no_steps_are_left_alone(tmp_path: Path) -> None:
    for name in ("step_5", "step_0000000x", "steps", "step_00000005.bak"):
        (tmp_path / name).mkdir()
    assert on_disk.list_checkpoints(tmp_path) == []
    assert on_disk.step_of("step_123456789") == 123_456_789


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 3, Cut(1, 1), full_state(1))
    published = write_checkpoint(tmp_path, 3, Cut(2, 1), full_state(1))
    assert damage(published) is None
    assert len(list((published / STATE_FOLDER).iterdir())) == 2
