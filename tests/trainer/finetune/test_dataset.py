"""From conversations.jsonl to padded batches."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import open_table
from tests.trainer.chat_tokenizer import chat_tokenizer
from trainer.data.batch import RowSource, TrainingData
from trainer.finetune.dataset import prepare_conversations
from trainer.finetune.rows import open_conversations
from trainer.finetune.settings import FinetuneSettings
from trainer.finetune.template import ChatTemplate, Message
from trainer.model.gpt import loss_sum
from trainer.model.init import build_model
from trainer.settings import ModelSettings

CONTEXT = 48
SETTINGS = FinetuneSettings(validation_fraction=0.25)
TEMPLATE = ChatTemplate(chat_tokenizer())


def pair(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


class Files:
    """The places of one test, with a tokenizer and conversations written."""

    def __init__(self, folder: Path) -> None:
        self.conversations, self.tokenizer = folder / "conversations.jsonl", folder / "tokenizer.json"
        self.directory = folder / "rows"
        self.tokenizer.write_text(chat_tokenizer().to_str())
        self.give([pair(f"q{number}", "a" * (number % 7 + 1)) for number in range(40)])

    def give(self, conversations: list[Any]) -> None:
        lines = [json.dumps({"id": str(place), "messages": each}) for place, each in enumerate(conversations)]
        self.conversations.write_text("\n".join(lines) + "\n")

    def prepare(self, settings: FinetuneSettings = SETTINGS) -> dict[str, Any]:
        return prepare_conversations(self.conversations, self.tokenizer, self.directory, settings, CONTEXT)

    def open(self) -> TrainingData:
        return open_conversations(self.directory, self.tokenizer)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def every_row(source: RowSource) -> list[tuple[list[int], list[int]]]:
    """Inputs without padding and the trained targets of each row."""
    found = []
    for row in range(source.rows):
        batch = source.batch([row])
        assert batch.mask is not None
        last = int(np.flatnonzero(batch.mask[0])[-1])
        found.append((batch.inputs[0, : last + 1].tolist(), batch.targets[0][batch.mask[0]].tolist()))
    return found


def test_every_conversation_becomes_one_row_of_one_split(files: Files) -> None:
    manifest, data = files.prepare(), files.open()
    rows = every_row(data.train) + every_row(data.validation)
    assert len(rows) == 40
    assert data.validation.rows == manifest["splits"]["validation"]["rows"]
    assert 2 <= data.validation.rows <= 20
    inputs, trained = next(
        row for row in rows if row[0] == TEMPLATE.encode_prompt([Message("user", "q3")]) + row[1][:-1]
    )
    assert trained == [*TEMPLATE.encode_text("aaaa"), TEMPLATE.turn_end_id]
    assert inputs[0] == TEMPLATE.end_of_text_id


def test_rows_end_with_their_last_trained_token(files: Files) -> None:
    files.give([[*pair("q", "a"), {"role": "user", "content": "never answered"}], pair("r", "b")])
    files.prepare()
    table = open_table(str(files.directory / "train" / "shard-00000.arrow"))
    assert all(ids[-1] == TEMPLATE.turn_end_id for ids in table["input_ids"].to_pylist())
    assert all(mask[-1] for mask in table["loss_mask"].to_pylist())


def test_the_same_conversations_give_the_same_bytes_and_are_not_encoded_again(files: Files, tmp_path: Path) -> None:
    first = files.prepare()
    shard = files.directory / "train" / "shard-00000.arrow"
    written = shard.stat().st_mtime_ns
    assert files.prepare() == first
    assert shard.stat().st_mtime_ns == written
    again = prepare_conversations(files.conversations, files.tokenizer, tmp_path / "again", SETTINGS, CONTEXT)
    assert again == first
    assert files.prepare(FinetuneSettings(validation_fraction=0.5)) != first


def test_copies_of_a_conversation_are_never_on_both_sides(files: Files) -> None:
    files.give([pair(f"q{number % 9}", "a") for number in range(90)])
    files.prepare()
    train, validation = (
        {tuple(inputs) for inputs, _ in every_row(split)} for split in (files.open().train, files.open().validation)
    )
    assert train
    assert validation
    assert not train & validation


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_both_sides_have_at_least_one_conversation(files: Files, fraction: float) -> None:
    files.give([pair("q", "a"), pair("r", "b")])
    files.prepare(FinetuneSettings(validation_fraction=fraction))
    assert (files.open().train.rows, files.open().validation.rows) == (1, 1)


def test_one_conversation_is_too_few(files: Files) -> None:
    files.give([pair("q", "a"), pair("q", "a")])
    with pytest.raises(UserError, match="at least 2 different conversations"):
        files.prepare()


def test_a_conversation_without_an_answer_is_refused_by_its_line(files: Files) -> None:
    files.give([pair("q", "a"), pair("q", "a")[:1]])
    with pytest.raises(UserError, match="line 2 has no word of the assistant"):
        files.prepare()


def test_a_line_that_is_no_conversation_is_refused(files: Files) -> None:
    files.conversations.write_text('{"messages": [{"role": "user"}]}\n')
    with pytest.raises(UserError, match="line 1 is no conversation"):
        files.prepare()


def test_long_answers_are_cut_and_questions_that_leave_no_room_are_dropped(files: Files) -> None:
    files.give([pair("q", "xy" * 100), pair("xy" * 100, "a"), pair("q", "a"), pair("r", "b")])
    manifest = files.prepare()
    assert (manifest["truncated"], manifest["too_long"]) == (1, 1)
    rows = every_row(files.open().train) + every_row(files.open().validation)
    assert sorted(len(inputs) for inputs, _ in rows)[-1] == CONTEXT
    assert len(rows) == 3


def test_long_conversations_may_all_be_dropped(files: Files) -> None:
    files.give([pair("q", "xy" * 100), pair("q", "a"), pair("r", "b")])
    manifest = files.prepare(FinetuneSettings(too_long="drop"))
    assert (manifest["truncated"], manifest["too_long"]) == (0, 1)


def test_rows_with_nothing_to_learn_are_not_read(files: Files) -> None:
    manifest = files.prepare()
    shard = files.directory / "train" / "shard-00000.arrow"
    table = open_table(str(shard))
    masks = [[False] * len(mask) if place == 3 else mask for place, mask in enumerate(table["loss_mask"].to_pylist())]
    broken = table.set_column(1, table.schema.field(1), pa.array(masks))
    with storage.write_atomically(str(shard)) as sink, pa.ipc.new_stream(sink, broken.schema) as stream:
        stream.write_table(broken)
    manifest["splits"]["train"]["shards"][0]["sha256"] = storage.sha256_of(str(shard))
    storage.write_json(str(files.directory / "conversations.json"), manifest)
    with pytest.raises(UserError, match="row 3 has no trained token"):
        files.open()


def test_unfinished_damaged_and_foreign_rows_are_refused(files: Files) -> None:
    with pytest.raises(UserError, match="not finished"):
        files.open()
    files.prepare()
    tokenizer = files.tokenizer.read_text()
    files.tokenizer.write_text(tokenizer + " ")
    with pytest.raises(UserError, match="another tokenizer"):
        files.open()
    files.tokenizer.write_text(tokenizer)
    shard = files.directory / "train" / "shard-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(UserError, match="missing or damaged"):
        files.open()


def test_both_splits_are_hugging_face_datasets(files: Files) -> None:
    datasets = pytest.importorskip("datasets")
    files.prepare()
    loaded = datasets.load_from_disk(str(files.directory / "train"))
    assert loaded.num_rows == files.open().train.rows
    assert set(loaded.column_names) == {"input_ids", "loss_mask"}


def test_padding_changes_no_loss_and_no_other_row_does(files: Files) -> None:
    files.prepare()
    shape = ModelSettings(layers=2, width=32, heads=4).shaped(chat_tokenizer().get_vocab_size(), CONTEXT)
    model = build_model(shape, seed=0)

    def loss(rows: list[int]) -> float:
        batch = files.open().train.batch(rows)
        assert batch.mask is not None
        logits = model(torch.from_numpy(batch.inputs))
        mask = torch.from_numpy(batch.mask)
        return float(loss_sum(logits[mask], torch.from_numpy(batch.targets)[mask]).detach())

    train = files.open().train
    rows = sorted(range(train.rows), key=lambda row: len(every_row(train)[row][0]))
    shortest, longest = rows[0], rows[-1]
    assert loss([shortest, longest]) == pytest.approx(loss([shortest]) + loss([longest]), rel=1e-5)
    assert loss([longest, shortest]) == pytest.approx(loss([shortest, longest]), rel=1e-6)


def test_other_words_of_the_user_change_no_target(files: Files) -> None:
    targets = []
    for word in ("dog", "cat"):
        files.give([[*pair(word, "a"), *pair(word, "yes")], pair("r", "b")])
        files.prepare()
        rows = every_row(files.open().train) + every_row(files.open().validation)
        targets.append(sorted(trained for _, trained in rows))
    assert targets[0] == targets[1]
