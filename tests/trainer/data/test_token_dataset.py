"""The token dataset's reader: right rows, and a clear word for every kind of broken dataset."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import UserError
from tests.trainer.datasets import CONTEXT, write_token_dataset
from trainer.data.batch import TrainingData
from trainer.data.token_dataset import TokenRows, find_dataset, open_token_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[Path, Path]:
    return write_token_dataset(tmp_path)


def opened(dataset: tuple[Path, Path], verified: Path | None = None) -> TrainingData:
    return open_token_dataset(*dataset, verified)


def change_manifest(tokens: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = tokens / "tokens.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_every_row_is_found_by_its_number_across_shards_and_record_batches(dataset: tuple[Path, Path]) -> None:
    data = opened(dataset)
    written = [
        row
        for shard in ("shard-00000", "shard-00001")
        for row in pa.ipc.open_stream(str(dataset[0] / f"train/{shard}.arrow")).read_all()["input_ids"].to_pylist()
    ]
    batch = data.train.batch(range(64))
    assert data.train.rows == 64
    assert batch.inputs.tolist() == [row[:-1] for row in written]
    assert batch.targets.tolist() == [row[1:] for row in written]
    assert batch.valid_tokens == 64 * CONTEXT


def test_rows_come_in_the_order_asked_and_wide_ids_are_read(tmp_path: Path) -> None:
    narrow = opened(write_token_dataset(tmp_path / "narrow")).train
    wide = opened(write_token_dataset(tmp_path / "wide", dtype="uint32")).train
    rows = np.array([63, 0, 41, 0])
    assert np.array_equal(narrow.batch(rows).inputs, wide.batch(rows).inputs)
    assert narrow.batch(rows).digest() == wide.batch(rows).digest() != narrow.batch(rows[::-1]).digest()


def test_documents_of_a_row_are_numbered_and_padding_is_masked_and_stands_apart(tmp_path: Path) -> None:
    ends = ((CONTEXT,), (1, 5, CONTEXT - 2), (3,))
    train = opened(write_token_dataset(tmp_path, ends=ends)).train
    rows = [4, 0, 62, 41]  # of two shards and four record batches, in no order
    batch = train.batch(rows)
    assert batch.mask is not None
    assert batch.segments is not None
    for place, row in enumerate(rows):
        of_row = ends[row % 3]
        assert batch.mask[place].tolist() == [position < of_row[-1] for position in range(CONTEXT)]
        numbers = [sum(position >= end for end in of_row) for position in range(CONTEXT)]
        assert batch.segments[place].tolist() == numbers
    assert batch.valid_tokens == sum(ends[row % 3][-1] for row in rows)


def test_a_dataset_without_padding_has_no_mask(dataset: tuple[Path, Path]) -> None:
    batch = opened(dataset).train.batch([0, 63])
    assert batch.mask is None
    assert batch.segments is not None
    assert not batch.segments.any()


def test_documents_are_numbered_only_where_wanted_but_padding_is_always_masked(tmp_path: Path) -> None:
    for name, ends in (("full", ((CONTEXT,),)), ("padded", ((2, 7),))):
        tokens, _ = write_token_dataset(tmp_path / name, ends=ends)
        dataset = find_dataset(str(tokens))
        numbered, alone = (dataset.rows("train", with_documents=wanted).batch([5, 60]) for wanted in (True, False))
        assert np.array_equal(numbered.inputs, alone.inputs)
        assert np.array_equal(numbered.targets, alone.targets)
        assert (alone.segments is None) == (name == "full")
        assert alone.valid_tokens == numbered.valid_tokens == 2 * ends[0][-1]


def test_rows_of_a_source_are_found_and_a_row_can_be_looked_at(tmp_path: Path) -> None:
    train = opened(write_token_dataset(tmp_path, ends=((CONTEXT,), (4, CONTEXT)))).train
    assert isinstance(train, TokenRows)
    assert list(train.rows_of_source(1)) == list(range(1, 64, 2))
    assert list(train.rows_of_source(0)) == list(range(64))
    row = train.row(41)
    assert (row.ends.tolist(), row.sources.tolist()) == ([4, CONTEXT], [0, 1])
    assert row.ids[:-1].tolist() == train.batch([41]).inputs[0].tolist()
    assert train.file_of(39) == ("train/shard-00000.arrow", 39)
    assert train.file_of(40) == ("train/shard-00001.arrow", 0)


@pytest.mark.parametrize("row", [-1, 64])
def test_a_row_that_is_not_there_is_an_error(dataset: tuple[Path, Path], row: int) -> None:
    with pytest.raises(IndexError):
        opened(dataset).train.batch([row])


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(bytes(content))


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


BREAKAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "unfinished": (lambda tokens: (tokens / "tokens.json").unlink(), r"tokens.json does not exist: .*not finished"),
    "not json": (lambda tokens: (tokens / "tokens.json").write_text("{"), r"tokens.json is not JSON"),
    "other version": (
        lambda tokens: change_manifest(tokens, lambda m: m.update(format_version=9)),
        r"format version 9, this version reads 2",
    ),
    "first version": (
        lambda tokens: change_manifest(tokens, lambda m: m.update(format_version=1)),
        r"tokens.json has format version 1, this version reads 2: make the tokens again",
    ),
    "other tokenizer": (
        lambda tokens: change_manifest(tokens, lambda m: m.update(tokenizer_fingerprint="abc")),
        r"made with another tokenizer than .*tokenizer.json",
    ),
    "shard missing": (
        lambda tokens: (tokens / "train/shard-00001.arrow").unlink(),
        r"shard-00001.arrow does not exist",
    ),
    "shard damaged": (
        lambda tokens: _flip_a_bit(tokens / "train/shard-00000.arrow"),
        r"shard-00000.arrow.*is damaged: remove it and make",
    ),
    "shard cut short": (
        lambda tokens: _cut_short(tokens / "train/shard-00000.arrow"),
        r"shard-00000.arrow.*is damaged",
    ),
    "rows miscounted": (
        lambda tokens: change_manifest(tokens, lambda m: m["splits"]["train"]["shards"][0].update(rows=41)),
        r"shard-00000.arrow has 40 rows, tokens.json says 41",
    ),
    "other context": (
        lambda tokens: change_manifest(tokens, lambda m: m.update(context_length=8)),
        r"column input_ids is fixed_size_list.*promises fixed_size_list",
    ),
}


@pytest.mark.parametrize("kind", BREAKAGES)
def test_a_broken_dataset_is_refused_naming_what_is_wrong(dataset: tuple[Path, Path], kind: str) -> None:
    damage, message = BREAKAGES[kind]
    damage(dataset[0])
    with pytest.raises(UserError, match=message):
        opened(dataset)


def test_a_missing_tokenizer_is_named(dataset: tuple[Path, Path]) -> None:
    dataset[1].unlink()
    with pytest.raises(UserError, match=r"tokenizer.json does not exist"):
        opened(dataset)


def test_a_shard_is_hashed_once_and_again_only_when_it_changed(
    dataset: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = tmp_path / "verified.json"
    opened(dataset, verified)
    hashed: list[str] = []
    monkeypatch.setattr("pipeline.storage.sha256_of", _recording(hashed))
    opened(dataset, verified)
    assert [Path(path).name for path in hashed] == ["tokenizer.json"]
    _flip_a_bit(dataset[0] / "train/shard-00001.arrow")
    with pytest.raises(UserError, match=r"shard-00001.arrow.*is damaged"):
        opened(dataset, verified)


def _recording(calls: list[str]) -> Callable[[str], str]:
    from pipeline.storage import sha256_of

    def record(url: str) -> str:
        calls.append(url)
        return sha256_of(url)

    return record


def test_reading_needs_no_copy_of_the_shard(dataset: tuple[Path, Path]) -> None:
    train = opened(dataset).train
    assert isinstance(train, TokenRows)
    blocks = [block for shard in train._open.shards.values() for block in shard.blocks]
    assert len(blocks) == 5
    assert all(not block.tokens.flags.owndata for block in blocks)
