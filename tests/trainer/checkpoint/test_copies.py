"""Copies elsewhere: whole or none, in object stores too; a run without checkpoints of its own goes on from them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import UserError
from tests.s3_server import s3_bucket
from tests.trainer.checkpoint.alone import Alone
from tests.trainer.checkpoint.synthetic import Cut, declarations_of, full_state, write_checkpoint
from trainer.checkpoint import copies as copying
from trainer.checkpoint.choose import choose_checkpoint
from trainer.checkpoint.copies import (
    CheckpointCopies,
    copy_checkpoint,
    fetch_newest,
    list_copies,
    prune_copies,
    require_place,
)
from trainer.checkpoint.directory import list_checkpoints
from trainer.checkpoint.seal import COMPLETE, damage
from trainer.checkpoint.writer import CheckpointWriter


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("checkpoints") as url:
        yield url


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "elsewhere")
    if request.param == "memory":
        return f"memory://{tmp_path.name}/run"
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}/run"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "FIRST_WAIT_SECONDS", 0.001)


def _fail(message: str) -> None:
    raise AssertionError(message)


def test_what_is_copied_comes_back_byte_for_byte(place: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    for step in (3, 6, 9):
        copy_checkpoint(write_checkpoint(own, step, Cut(2, 2), full_state(step)), place)
    assert list_copies(place) == ["step_00000009", "step_00000006", "step_00000003"]
    prune_copies(place, keep_last=1, keep_every=3)
    assert len(list_copies(place)) == 3
    prune_copies(place, keep_last=1, keep_every=2)
    assert list_copies(place) == ["step_00000009", "step_00000006"]
    assert storage.list_names(place) == ["latest", "step_00000006", "step_00000009"]
    warnings: list[str] = []
    found = choose_checkpoint(tmp_path / "new", Alone(), warnings.append, place)
    assert found == tmp_path / "new" / "step_00000009"
    assert warnings == [f"{tmp_path / 'new'} was empty: fetched step_00000009 from {place}"]
    for path in (own / "step_00000009").rglob("*"):
        if path.is_file():
            assert (found / path.relative_to(own / "step_00000009")).read_bytes() == path.read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["step_00000009"]


def test_a_copy_that_was_cut_off_or_damaged_is_not_taken(place: str, tmp_path: Path) -> None:
    for step in (3, 6, 9):
        copy_checkpoint(write_checkpoint(tmp_path / "own", step, Cut(1, 2), full_state(step)), place)
    storage.remove(storage.join(place, "step_00000009", COMPLETE))
    damaged = storage.join(place, "step_00000006", "state", "rank_00001.safetensors")
    content = bytearray(storage.read_bytes(damaged))
    content[-1] ^= 1
    with storage.write_atomically(damaged) as file:
        file.write(content)
    warnings: list[str] = []
    found = fetch_newest(place, tmp_path / "new", warnings.append)
    assert found is not None
    assert found.name == "step_00000003"
    assert len(warnings) == 1
    assert "step_00000006 is damaged (state/rank_00001.safetensors has other content" in warnings[0]


def test_own_checkpoints_come_first_and_an_empty_place_is_no_error(place: str, tmp_path: Path) -> None:
    assert choose_checkpoint(tmp_path / "own", Alone(), _fail, place) is None
    copy_checkpoint(write_checkpoint(tmp_path / "other", 9, Cut(1, 1), full_state(9)), place)
    write_checkpoint(tmp_path / "own", 3, Cut(1, 1), full_state(3))
    found = choose_checkpoint(tmp_path / "own", Alone(), _fail, place)
    assert found is not None
    assert found.name == "step_00000003"


def test_a_run_copies_in_the_background_and_prunes_there_alike(place: str, tmp_path: Path) -> None:
    events: list[str] = []

    def report(kind: str, **_: object) -> None:
        events.append(kind)

    writer = CheckpointWriter(
        tmp_path / "own",
        Alone(),
        list(declarations_of().values()),
        report,
        keep_last=2,
        keep_every=3,
        copies=CheckpointCopies(place, keep_last=2, keep_every=3),
    )
    for step in range(1, 7):
        writer.save(Cut(1, 1).pieces(0, full_state(step)), {"step": step})
    writer.close()
    assert events == ["checkpoint"] * 6
    assert list_copies(place) == ["step_00000006", "step_00000005", "step_00000003"]
    assert damage(list_checkpoints(tmp_path / "own")[0]) is None


def test_what_fails_for_a_moment_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = write_checkpoint(tmp_path / "own", 3, Cut(1, 1), full_state(3))
    put, failures = copying._put, [ConnectionError("reset by peer"), TimeoutError("too slow")]

    def unsteady(path: Path, url: str) -> None:
        if failures:
            raise failures.pop()
        put(path, url)

    monkeypatch.setattr(copying, "_put", unsteady)
    copies = CheckpointCopies(str(tmp_path / "copies"), keep_last=1)
    copies.add(checkpoint)
    assert copies.close() is None
    assert copies.messages() == []
    assert list_copies(str(tmp_path / "copies")) == ["step_00000003"]


def test_a_place_that_cannot_be_read_is_an_error_and_no_new_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_: str) -> list[str]:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(copying, "list_copies", unreachable)
    with pytest.raises(
        UserError, match=r"could be fetched from s3://x \(ConnectionError: no route to host\): mend that"
    ):
        choose_checkpoint(tmp_path, Alone(), _fail, "s3://x")


def test_a_place_is_tried_before_the_run_and_left_as_it_was(place: str, tmp_path: Path) -> None:
    require_place("pretrain.checkpoint_copy", place)
    assert list_copies(place) == []
    assert [name for name in storage.list_names(place) if name] == []


def test_a_place_that_cannot_be_written_to_is_an_error_that_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"finetune\.checkpoint_copy: .*file/copies cannot be written to \(\w+: "):
        require_place("finetune.checkpoint_copy", str(tmp_path / "file" / "copies"))
    with pytest.raises(UserError, match=r"pretrain\.checkpoint_copy: nonsense://x cannot be written to"):
        require_place("pretrain.checkpoint_copy", "nonsense://x")
