"""A finished dataset is one that can be read: with any of its files gone the step makes them again, and a bit that
changed in what it is made from fails by the name of the file instead of becoming a token."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import storage
from pipeline.errors import ShardsFailed, UserError
from pipeline.shard import StageDirectory
from pipeline.tokens.encoded import read_documents
from pipeline.tokens.rows import read_leftovers
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.write import write_tokens
from tests.pipeline.corpora import write_texts
from tests.pipeline.runner import SerialRunner
from tests.pipeline.tokens.reading import contents

SETTINGS = TokensSettings(context_length=19, validation_fraction=0.3)
VOCAB_SIZE = 270
TEXTS = [[f"sea shell number {row} " * 20 for row in range(20)]]


@pytest.mark.parametrize(
    ("file", "tasks"),
    [
        ("tokenizer.json", []),
        ("dataset_dict.json", []),
        ("train/dataset_info.json", []),
        ("validation/state.json", []),
        ("train/shard-00000-000.arrow", ["train-shard-00000"]),
    ],
)
def test_a_lost_file_of_a_finished_dataset_comes_back(
    tokens: Path, corpus: StageDirectory, tokenizer: str, tmp_path: Path, file: str, tasks: list[str]
) -> None:
    copy = Path(shutil.copytree(tokens, tmp_path / "tokens"))
    (copy / file).unlink()
    runner = SerialRunner()
    write_tokens(SETTINGS, corpus, tokenizer, str(copy), runner)
    assert runner.executed == tasks
    assert contents(copy) == contents(tokens)


def test_a_changed_copy_of_the_tokenizer_is_replaced(
    tokens: Path, corpus: StageDirectory, tokenizer: str, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tokens, tmp_path / "tokens"))
    (copy / "tokenizer.json").write_text("{}")
    write_tokens(SETTINGS, corpus, tokenizer, str(copy), SerialRunner())
    assert contents(copy) == contents(tokens)


def test_a_file_of_a_finished_dataset_that_lost_its_end_is_written_again(
    tokens: Path, corpus: StageDirectory, tokenizer: str, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tokens, tmp_path / "tokens"))
    shard = copy / "train" / "shard-00000-000.arrow"
    shard.write_bytes(shard.read_bytes()[:-8])
    write_tokens(SETTINGS, corpus, tokenizer, str(copy), SerialRunner())
    assert contents(copy) == contents(tokens)


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 5] ^= 1
    path.write_bytes(content)


def test_a_changed_bit_of_the_corpus_is_noticed(tokenizer: str, tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "corpus", TEXTS)
    _flip_a_bit(tmp_path / "corpus" / "shard-00000.arrow")
    with pytest.raises(ShardsFailed, match=r"corpus/shard-00000\.arrow does not have the sha256 of its record"):
        write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path / "tokens"), SerialRunner())


@pytest.mark.parametrize("shard", ["shard-00000.arrow", "shard-00001.arrow"])
def test_a_shard_of_the_corpus_that_is_gone_is_named(tokenizer: str, tmp_path: Path, shard: str) -> None:
    corpus = write_texts(tmp_path / "corpus", [["sea shell " * 20], ["sea shore " * 20]])
    (tmp_path / "corpus" / shard).unlink()
    with pytest.raises((UserError, ShardsFailed), match=rf"corpus/{shard} is missing, .* run that step again"):
        write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path / "tokens"), SerialRunner())


def test_a_changed_bit_of_encoded_documents_is_noticed(tokens: Path, corpus: StageDirectory, tmp_path: Path) -> None:
    record = storage.read_json(str(tokens / "encoded" / f"{corpus.shards[0].name}.json"))
    file = tmp_path / "shard-00000.arrow"
    shutil.copy(tokens / "encoded" / file.name, file)
    arguments = ([str(file)], [[0]], 0, 2, np.dtype("<u2"), True)
    documents, _ = read_documents(*arguments)
    assert len(documents.tokens) == sum(record["splits"]["train"]["tokens"])
    content = file.read_bytes()
    at = content.index(documents.tokens.tobytes())
    file.write_bytes(content[: at + 8] + bytes([content[at + 8] ^ 1]) + content[at + 9 :])
    with pytest.raises(UserError, match=r"shard-00000\.arrow is damaged"):
        read_documents(*arguments)


def test_a_changed_bit_of_leftovers_is_noticed(tokens: Path, tmp_path: Path) -> None:
    record = storage.read_json(str(tokens / "train-shard-00000.json"))
    name = "leftovers/train-shard-00000.arrow"
    file = tmp_path / "leftovers.arrow"
    shutil.copy(tokens / name, file)
    assert len(read_leftovers({str(file): record["files"][name]}).tokens) > 0
    _flip_a_bit(file)
    with pytest.raises(UserError, match=r"leftovers\.arrow does not have the sha256 of its record"):
        read_leftovers({str(file): record["files"][name]})
