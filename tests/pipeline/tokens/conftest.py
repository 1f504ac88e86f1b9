"""A corpus, a tokenizer and a token dataset for the tests of a module.

The module says what they are made of: `TEXTS` (by shard), `VOCAB_SIZE` and, for the dataset, `SETTINGS`. They are made
once for the module; a test that changes a file of them copies the folder first.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.shard import StageDirectory
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from pipeline.tokens.write import write_tokens
from tests.pipeline.corpora import write_texts
from tests.pipeline.runner import SerialRunner


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StageDirectory:
    return write_texts(tmp_path_factory.mktemp("corpus"), request.module.TEXTS)


@pytest.fixture(scope="module")
def tokenizer(request: pytest.FixtureRequest, corpus: StageDirectory, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = str(tmp_path_factory.mktemp("tokenizer"))
    settings = TokenizerSettings(vocab_size=request.module.VOCAB_SIZE)
    train_tokenizer(settings, corpus, directory, SerialRunner())
    return directory


@pytest.fixture(scope="module")
def tokens(
    request: pytest.FixtureRequest, corpus: StageDirectory, tokenizer: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("tokens")
    write_tokens(request.module.SETTINGS, corpus, tokenizer, str(directory), SerialRunner())
    return directory
