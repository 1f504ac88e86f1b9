"""A finished dataset is one that can be read: with any of its files gone the step makes them again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.shard import StageDirectory
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.write import write_tokens
from tests.pipeline.corpora import write_texts
from tests.pipeline.runner import SerialRunner
from tests.pipeline.tokens.reading import contents

SETTINGS = TokensSettings(context_length=16, validation_fraction=0.3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> StageDirectory:
    return write_texts(tmp_path_factory.mktemp("corpus"), [[f"sea shell number {row} " * 20 for row in range(20)]])


@pytest.fixture(scope="module")
def tokenizer(corpus: StageDirectory, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = str(tmp_path_factory.mktemp("tokenizer"))
    train_tokenizer(TokenizerSettings(vocab_size=270), corpus, directory, SerialRunner())
    return directory


@pytest.fixture(scope="module")
def tokens(corpus: StageDirectory, tokenizer: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokens")
    write_tokens(SETTINGS, corpus, tokenizer, str(directory), SerialRunner())
    return directory


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
