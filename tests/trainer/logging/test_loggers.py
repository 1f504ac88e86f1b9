"""TensorBoard and Weights & Biases get what metrics.jsonl gets, and a resumed run is one run there."""

import io
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from trainer.logging.flat_line import flatten
from trainer.logging.journal import Journal
from trainer.logging.loggers import make_loggers
from trainer.settings import PretrainSettings

LOG_BLOCK = 32768


def journal_of(directory: Path, **settings: object) -> Journal:
    directory.mkdir(exist_ok=True)
    journal = Journal(directory, io.StringIO(), active=True)
    given = PretrainSettings.model_validate(settings)
    journal.attach(make_loggers(given, directory, {"model": {"layers": 2}}))
    return journal


def write_a_run(directory: Path, pause: float = 0.0, **settings: object) -> None:
    """Three steps, of which the last is done again after a restart, so many seconds later."""
    journal = journal_of(directory, **settings)
    for step, loss in ((1, 4.0), (2, 3.0), (3, 9.0)):
        journal.step(step=step, loss=loss, mfu=None)
    journal.validation(step=2, validation_loss=3.5, by_source={"news": {"loss": 3.25}})
    journal.close()
    time.sleep(pause)
    journal = journal_of(directory, **settings)
    journal.rewind(2)
    journal.step(step=3, loss=2.0)
    journal.sample(step=3, prompt="Once", text=" upon <a> time")
    journal.skip(step=4, message="step 4: the loss is nan", loss=float("nan"), gradient_norm=1.5)
    journal.close()


def test_nested_figures_are_named_by_their_path_and_words_are_left_out() -> None:
    line = {"loss": 1.5, "norms": {"blocks.0": {"weight": 2}}, "skipped": True, "word": "x", "nothing": None}
    assert flatten(line) == {"loss": 1.5, "norms/blocks.0/weight": 2, "skipped": 1}


def test_tensorboard_shows_the_figures_and_forgets_steps_that_were_done_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_a_run(tmp_path, tensorboard=True)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 4.0), (2, 3.0), (3, 2.0)]
    assert [event.value for event in found.Scalars("by_source/news/loss")] == [3.25]
    assert [(event.step, event.value) for event in found.Scalars("gradient_norm")] == [(4, 1.5)]
    assert found.Tensors("sample/text_summary")[0].tensor_proto.string_val == [b"Once upon <a> time"]


def test_weights_and_biases_offline_keeps_one_run_over_restarts(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    # W&B names the folder of a start by the second.
    write_a_run(tmp_path / "pretrain", pause=1.1, wandb={"project": "test", "mode": "offline"})
    identifier = (tmp_path / "pretrain" / "wandb_id").read_text()
    written = sorted((tmp_path / "pretrain" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert {path.name for path in written} == {f"run-{identifier}.wandb"}
    records = [record for path in written for record in records_of(path)]
    names = {record.run.display_name for record in records if record.HasField("run")}
    assert names == {f"{tmp_path.name}/pretrain"}
    lines = [
        {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    assert sorted(losses) == [("1", "4"), ("2", "3"), ("3", "2"), ("3", "9")]
    assert [line["by_source/news/loss"] for line in lines if "by_source/news/loss" in line] == ["3.25"]


def records_of(path: Path) -> Iterator[Any]:
    """What wandb wrote to a file that `wandb sync` would send: LevelDB's log format behind 7 bytes of its own."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = path.read_bytes(), 7, b""
    while at < len(content):
        left = LOG_BLOCK - at % LOG_BLOCK
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


@pytest.mark.parametrize(
    ("package", "settings"),
    [("torch.utils.tensorboard", {"tensorboard": True}), ("wandb", {"wandb": {"mode": "offline"}})],
)
def test_a_package_that_is_not_installed_is_named_before_the_first_step(
    package: str, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"pip install {package.split('.')[-1]}"):
        journal_of(tmp_path, **settings)


def test_nothing_is_imported_that_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("wandb", "tensorboard"):
        monkeypatch.setitem(sys.modules, package, None)
    journal_of(tmp_path).step(step=1, loss=2.0)
