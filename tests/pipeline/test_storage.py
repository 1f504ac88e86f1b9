"""Files appear whole or not at all, on local disk and on object stores."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

import pytest

from pipeline import storage
from pipeline.errors import StorageError


def _write_and_fail(file: IO[bytes]) -> None:
    file.write(b"half of the n")
    raise ValueError("stop")


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}"


def test_a_file_is_there_after_the_block_and_its_folder_is_made(folder: str) -> None:
    path = storage.join(folder, "a", "b.bin")
    with storage.write_atomically(path) as file:
        file.write(b"content")
        assert not storage.exists(path)
    assert storage.read_bytes(path) == b"content"
    assert storage.list_names(storage.join(folder, "a")) == ["b.bin"]


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(folder: str) -> None:
    path = storage.join(folder, "a.bin")
    with storage.write_atomically(path) as file:
        file.write(b"old")
    with pytest.raises(ValueError, match="stop"), storage.write_atomically(path) as file:
        _write_and_fail(file)
    assert storage.read_bytes(path) == b"old"
    assert storage.list_names(folder) == ["a.bin"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_faults_that_repeating_cannot_cure_say_what_to_do(tmp_path: Path, number: int) -> None:
    path = str(tmp_path / "a.bin")
    with pytest.raises(StorageError, match=r"cannot write .*a\.bin: .+"), storage.write_atomically(path):
        raise OSError(number, "no")
    assert not storage.exists(path)


def test_a_passing_fault_stays_an_os_error_so_that_it_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="hiccup") as fault, storage.write_atomically(str(tmp_path / "a")):
        raise OSError(errno.EIO, "hiccup")
    assert not isinstance(fault.value, StorageError)


def test_a_broken_json_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StorageError, match=r"a\.json is not valid JSON"):
        storage.read_json(str(tmp_path / "a.json"))


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".tmp-shard-00001.arrow-77-ab").write_bytes(b"half")
    (tmp_path / "shard-00000.arrow").write_bytes(b"whole")
    (tmp_path / "dropped").mkdir()
    (tmp_path / "dropped" / ".tmp-shard-00001.parquet-77-ab").write_bytes(b"half")
    storage.remove_leftovers(str(tmp_path))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["shard-00000.arrow"]
