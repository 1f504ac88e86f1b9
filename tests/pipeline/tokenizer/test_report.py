from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pipeline.shard import StageDirectory
from pipeline.tokenizer.load import load_tokenizer
from pipeline.tokenizer.report import tokenizer_report
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from tests.pipeline.corpora import write_corpus
from tests.pipeline.runner import SerialRunner

DOCUMENTS = [
    {"text": "home is where the home is", "source": "web", "language": "en"},
    {"text": "daheim ist daheim", "source": "web", "language": "de"},
    {"text": "x = x + 1\n" * 5, "source": "code", "language": None},
]


@pytest.fixture
def corpus(tmp_path: Path) -> StageDirectory:
    return write_corpus(tmp_path / "corpus", [DOCUMENTS[:2], DOCUMENTS[2:]])


@pytest.fixture
def tokenizer(corpus: StageDirectory, tmp_path: Path) -> Tokenizer:
    train_tokenizer(TokenizerSettings(vocab_size=270), corpus, str(tmp_path / "tokenizer"), SerialRunner())
    return load_tokenizer(str(tmp_path / "tokenizer" / "tokenizer.json"))


def test_density_is_told_for_each_source_and_language(corpus: StageDirectory, tokenizer: Tokenizer) -> None:
    report = tokenizer_report(tokenizer, corpus)
    rows = {(row["source"], row["language"]): row for row in report["by_source_and_language"]}
    assert list(rows) == [("code", "unknown"), ("web", "de"), ("web", "en")]
    english = rows["web", "en"]
    tokens = len(tokenizer.encode(DOCUMENTS[0]["text"]).ids)
    assert (english["documents"], english["text_bytes"], english["words"], english["tokens"]) == (1, 25, 6, tokens)
    assert english["tokens_per_word"] == pytest.approx(tokens / 6, abs=1e-6)
    assert english["tokens_per_byte"] == pytest.approx(tokens / 25, abs=1e-6)
    assert report["sample"]["documents"] == 3
    assert report["round_trip"] == {"documents": 3, "failures": 0}


def test_waste_is_told(corpus: StageDirectory, tokenizer: Tokenizer) -> None:
    report = tokenizer_report(tokenizer, corpus)
    ids = [index for document in DOCUMENTS for index in tokenizer.encode(document["text"]).ids]
    single = sum(len(tokenizer.id_to_token(index)) == 1 for index in ids)
    assert report["single_byte_share"] == pytest.approx(single / len(ids), abs=1e-6)
    assert report["unused_share"] == pytest.approx(1 - len(set(ids)) / 266, abs=1e-6)
    longest = report["longest_tokens"][0]
    assert longest["bytes"] == max(len(tokenizer.id_to_token(index)) for index in range(4, 270))
    assert longest["uses"] == ids.count(longest["id"])
