"""Saving in the background: what is saved is the state at the call, whole or not there, and no failure is silent."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from tests.parallel.launcher import RankFailure, run_ranks
from tests.trainer.checkpoint.alone import Alone
from tests.trainer.checkpoint.synthetic import Cut, declarations_of, full_state
from trainer.checkpoint import directory as on_disk
from trainer.checkpoint import writer as writing
from trainer.checkpoint.choose import choose_checkpoint
from trainer.checkpoint.copies import CheckpointCopies
from trainer.checkpoint.reading import StateReader
from trainer.checkpoint.seal import damage
from trainer.checkpoint.writer import CheckpointWriter
from trainer.ranks import Ranks

DECLARATIONS = list(declarations_of().values())


def writer_in(directory: Path, ranks: Ranks | None = None, **settings: Any) -> tuple[CheckpointWriter, list[Any]]:
    events: list[Any] = []

    def report(kind: str, **details: Any) -> None:
        events.append((kind, details))

    return CheckpointWriter(directory, ranks or Alone(), DECLARATIONS, report, **settings), events


def state_in(checkpoint: Path) -> dict[Any, Any]:
    assert damage(checkpoint) is None
    with StateReader(checkpoint) as reader:
        return {key: reader.full(key) for key in reader.index.tensors}


def assert_equal(found: dict[Any, Any], expected: dict[Any, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert np.array_equal(found[key], value), key


def step(writer: CheckpointWriter) -> None:
    """What the loop does at the end of each step."""
    writer.agree(*writer.ranks.sum(writer.signals()))


def steps_until(writer: CheckpointWriter, true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true() and time.monotonic() < end:
        step(writer)
        time.sleep(0.01)
    assert true()


@pytest.mark.parametrize("asynchronous", [True, False])
def test_what_is_saved_is_the_state_at_the_call(tmp_path: Path, asynchronous: bool) -> None:
    writer, events = writer_in(tmp_path, asynchronous=asynchronous)
    state = full_state(1)
    pieces = Cut(1, 1).pieces(0, state)
    writer.save(pieces, {"step": 7, "note": "seven"})
    for piece in pieces:
        piece.values.fill_(-1.0)
    steps_until(writer, lambda: events)
    (checkpoint,) = on_disk.list_checkpoints(tmp_path)
    assert checkpoint.name == (tmp_path / "latest").read_text().strip() == "step_00000007"
    assert on_disk.read_state(checkpoint) == {"step": 7, "note": "seven"}
    assert_equal(state_in(checkpoint), state)
    ((kind, details),) = events
    assert (kind, details["step"], details["path"]) == ("checkpoint", 7, str(checkpoint))
    assert details["bytes"] == sum(value.nbytes for value in state.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_00000007"]


def test_twelve_bytes_a_parameter_and_the_same_bytes_either_way(tmp_path: Path) -> None:
    for name, asynchronous in (("background", True), ("waiting", False)):
        writer, _ = writer_in(tmp_path / name, asynchronous=asynchronous)
        writer.save(Cut(1, 1).pieces(0, full_state(1)), {"step": 1})
        writer.finish()
    files = [tmp_path / name / "step_00000001/state/rank_00000.safetensors" for name in ("background", "waiting")]
    assert files[0].read_bytes() == files[1].read_bytes()
    parameters = sum(declaration.size for declaration in DECLARATIONS)
    header = int.from_bytes(files[0].read_bytes()[:8], "little") + 8
    assert files[0].stat().st_size == 12 * parameters + header


def test_a_second_save_waits_for_the_first_and_old_ones_go(tmp_path: Path) -> None:
    writer, events = writer_in(tmp_path, keep_last=2, keep_every=3)
    pieces = Cut(1, 1).pieces(0, full_state(1))
    for number in range(1, 8):
        writer.save(pieces, {"step": number})
    writer.close()
    assert [details["step"] for _, details in events] == list(range(1, 8))
    assert [path.name for path in on_disk.list_checkpoints(tmp_path)] == [
        "step_00000007",
        "step_00000006",
        "step_00000003",
    ]


def save_on(ranks: Ranks, directory: Path, cut: Cut, failing: int | None) -> tuple[list[Any], str]:
    """Save a first checkpoint, then a second one that fails on one rank; what happened and the error."""
    writer, events = writer_in(directory, ranks)
    state = full_state(5)
    writer.save(cut.pieces(ranks.rank, state), {"step": 1})
    steps_until(writer, lambda: ranks.sum([len(events)])[0])
    if ranks.rank == failing:
        setattr(writing, "write_state_file", _broken)  # noqa: B010
    error = ""
    try:
        writer.save(cut.pieces(ranks.rank, full_state(6)), {"step": 2})
        for _ in range(2000):
            step(writer)
            time.sleep(0.005)
    except UserError as fault:
        error = str(fault)
    return events, error


def _broken(*_: Any) -> None:
    raise OSError("the disk has caught fire")


def test_on_several_processes_a_failed_part_is_an_error_on_all_and_the_checkpoint_before_stays(tmp_path: Path) -> None:
    cut = Cut(2, 2)
    results = run_ranks(4, save_on, tmp_path, cut, 3)
    assert [kind for kind, _ in results[0][0]] == ["checkpoint"]
    assert [events for events, _ in results[1:]] == [[], [], []]
    assert {error for _, error in results} == {
        f"process 3: the checkpoint of step 2 could not be written to {tmp_path}: the disk has caught fire"
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_00000001"]
    assert_equal(state_in(tmp_path / "step_00000001"), full_state(5))


def test_pieces_that_do_not_make_up_the_state_are_never_published(tmp_path: Path) -> None:
    writer, _ = writer_in(tmp_path)
    writer.save(Cut(2, 1).pieces(0, full_state(1)), {"step": 1})
    with pytest.raises(UserError, match=r"ValueError: token_embedding\.weight: .* is not complete"):
        writer.finish()
    assert list(tmp_path.iterdir()) == []
    writer.save(Cut(1, 1).pieces(0, full_state(1)), {"step": 1})
    writer.finish()
    assert_equal(state_in(tmp_path / "step_00000001"), full_state(1))


def test_a_disk_without_space_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, _ = writer_in(tmp_path)
    pieces = Cut(1, 1).pieces(0, full_state(1))
    writer.save(pieces, {"step": 1})
    writer.finish()
    monkeypatch.setattr("shutil.disk_usage", lambda _: _Usage(1_000_000))
    needed = 12 * sum(declaration.size for declaration in DECLARATIONS) + 2**20
    with pytest.raises(UserError) as caught:
        writer.save(pieces, {"step": 2})
    assert f"the disk is full. It needs {needed:,} bytes, 1,000,000 are free" in str(caught.value)
    assert "step_00000001 stays valid" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_00000001"]


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def killed_while_saving(ranks: Ranks, directory: Path, cut: Cut, victim: int, seconds: float) -> None:
    """Save without end; one rank is killed."""
    writer, _ = writer_in(directory, ranks, keep_last=3)
    writer.save(cut.pieces(ranks.rank, full_state(1)), {"step": 1})
    writer.finish()
    if ranks.rank == victim:
        threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    for number in range(2, 10_000):
        writer.save(cut.pieces(ranks.rank, full_state(number)), {"step": number})
        step(writer)


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_moment_the_newest_checkpoint_is_whole(tmp_path: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    cut = Cut(1, int(draw.integers(1, 3)))
    with pytest.raises(RankFailure, match=r"exit code -9|Connection|closed"):
        run_ranks(
            cut.world, killed_while_saving, tmp_path, cut, int(draw.integers(cut.world)), float(draw.uniform(0.0, 0.3))
        )
    newest = choose_checkpoint(tmp_path, Alone(), _fail)
    assert newest is not None
    number = on_disk.read_state(newest)["step"]
    assert_equal(state_in(newest), full_state(number))
    assert int((tmp_path / "latest").read_text()[5:]) in (number - 1, number)
    assert not list(tmp_path.glob(".tmp-*"))


def _fail(message: str) -> None:
    raise AssertionError(message)


def test_what_is_being_copied_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    copied = []

    def slow(checkpoint: Path, url: str) -> None:
        go_on.wait(10)
        copied.append((checkpoint.name, damage(checkpoint)))

    monkeypatch.setattr("trainer.checkpoint.copies.copy_checkpoint", slow)
    copies = CheckpointCopies(str(tmp_path / "copies"), keep_last=1)
    writer, _ = writer_in(tmp_path / "own", keep_last=1, copies=copies)
    for number in (1, 2, 3):
        writer.save(Cut(1, 1).pieces(0, full_state(1)), {"step": number})
        writer.finish()
    assert len(on_disk.list_checkpoints(tmp_path / "own")) == 3
    go_on.set()
    writer.close()
    assert copied == [(f"step_0000000{number}", None) for number in (1, 2, 3)]


def test_a_copy_that_cannot_be_made_is_a_warning_and_at_the_end_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.checkpoint.copies.FIRST_WAIT_SECONDS", 0.001)
    (tmp_path / "copies").write_text("a file where the folder should be")
    writer, events = writer_in(tmp_path / "own", copies=CheckpointCopies(str(tmp_path / "copies"), keep_last=1))
    writer.save(Cut(1, 1).pieces(0, full_state(1)), {"step": 1})
    with pytest.raises(UserError, match=r"could not be copied to .* in 4 attempts"):
        writer.close()
    assert [kind for kind, _ in events] == ["checkpoint", "warning"]
    assert json.loads((tmp_path / "own/step_00000001/COMPLETE").read_text())["step"] == 1


def test_the_host_memory_of_a_save_is_kept_for_the_next(tmp_path: Path) -> None:
    writer, _ = writer_in(tmp_path)
    pieces = Cut(1, 1).pieces(0, full_state(1))
    buffers = []
    for number in (1, 2):
        writer.save(pieces, {"step": number})
        assert isinstance(writer._buffer, torch.Tensor)
        buffers.append(writer._buffer.data_ptr())
    writer.finish()
    assert buffers[0] == buffers[1]
