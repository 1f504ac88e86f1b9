"""The report says what encoding every document with the library would say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline import storage
from pipeline.errors import ShardsFailed, UserError
from pipeline.kernels import characters, token_texts
from pipeline.kernels.column import column_of
from pipeline.shard import StageDirectory
from pipeline.tokenizer import report as report_module
from pipeline.tokenizer.load import load_tokenizer, token_bytes
from pipeline.tokenizer.merges import tokenizer_of, train_merges
from pipeline.tokenizer.pieces import pre_tokenizer_of
from pipeline.tokenizer.report import tokenizer_report
from pipeline.tokenizer.settings import PreTokenization
from tests.pipeline.corpora import write_corpus
from tests.pipeline.runner import SerialRunner
from tests.pipeline.tokenizer.test_merges import SPECIAL, pieces_counted

DOCUMENTS: list[dict[str, Any]] = [
    {"text": "home is where the home is", "source": "web", "language": "en"},
    {"text": "daheim ist daheim", "source": "web", "language": "de"},
    {"text": "", "source": "web", "language": "de"},
    {"text": "x = x + 1\n" * 5 + "<|endoftext|>", "source": "code", "language": None},
    {"text": "我们 在\u3000公园里\U0001f600", "source": "web", "language": "zh"},
]
GPT2 = PreTokenization(kind="gpt2")


@pytest.fixture
def corpus(tmp_path: Path) -> StageDirectory:
    return write_corpus(tmp_path / "corpus", [DOCUMENTS[:2], [], DOCUMENTS[2:]])


def trained(path: Path, vocab_size: int, special: tuple[str, ...] = SPECIAL) -> Path:
    merges = train_merges(pieces_counted([row["text"] for row in DOCUMENTS], GPT2), vocab_size, 2, special)
    storage.write_json(str(path), json.loads(tokenizer_of(merges, pre_tokenizer_of(GPT2)).to_str()))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return trained(tmp_path / "tokenizer" / "tokenizer.json", 275)


def measured(file: Path, corpus: StageDirectory, runner: SerialRunner | None = None, **compare: str) -> dict[str, Any]:
    sha256 = storage.sha256_of(str(file))
    return tokenizer_report(str(file), sha256, corpus, str(file.parent), runner or SerialRunner(), compare)


def ids_of(tokenizer: Tokenizer) -> list[int]:
    return [index for row in DOCUMENTS for index in tokenizer.encode(row["text"]).ids]


def test_density_is_told_for_each_source_and_language(corpus: StageDirectory, file: Path) -> None:
    report = measured(file, corpus)
    tokenizer = load_tokenizer(str(file))
    rows = {(row["source"], row["language"]): row for row in report["by_source_and_language"]}
    assert list(rows) == [("code", "unknown"), ("web", "de"), ("web", "en"), ("web", "zh")]
    for (source, language), row in rows.items():
        texts = [
            document["text"]
            for document in DOCUMENTS
            if (document["source"], document["language"] or "unknown") == (source, language)
        ]
        tokens = sum(len(tokenizer.encode(text).ids) for text in texts)
        size, words = sum(len(text.encode()) for text in texts), sum(len(text.split()) for text in texts)
        assert (row["documents"], row["text_bytes"], row["words"], row["tokens"]) == (len(texts), size, words, tokens)
        assert row["tokens_per_word"] == pytest.approx(tokens / words, abs=1e-6)
        assert row["tokens_per_byte"] == pytest.approx(tokens / size, abs=1e-6)
    assert report["corpus"]["tokens"] == len(ids_of(tokenizer))
    assert report["round_trip"] == {"documents": 5, "failures": 0}


def test_waste_is_told(corpus: StageDirectory, file: Path) -> None:
    report = measured(file, corpus)
    tokenizer = load_tokenizer(str(file))
    ids = ids_of(tokenizer)
    single = sum(len(tokenizer.id_to_token(index) or "") == 1 for index in ids)
    assert report["single_byte_share"] == pytest.approx(single / len(ids), abs=1e-6)
    ordinary = tokenizer.get_vocab_size() - len(SPECIAL)
    assert report["unused_share"] == pytest.approx(1 - len(set(ids)) / ordinary, abs=1e-6)
    longest = report["longest_tokens"][0]
    assert longest["bytes"] == max(
        len(tokenizer.id_to_token(index) or "") for index in range(2, len(SPECIAL) + ordinary)
    )
    assert longest["uses"] == ids.count(longest["id"])
    assert report["special_tokens"] == sorted(SPECIAL)


def test_other_vocabularies_encode_the_same_documents(corpus: StageDirectory, file: Path, tmp_path: Path) -> None:
    other = trained(tmp_path / "bytes.json", 256, ())
    assert measured(file, corpus)["comparison"] == []
    ours, theirs = measured(file, corpus, bytes=str(other))["comparison"]
    assert (ours["name"], theirs["name"]) == ("this tokenizer", "bytes")
    assert theirs["vocab_size"] == 256
    assert (
        theirs["sample"]["tokens"]
        == theirs["sample"]["text_bytes"]
        == sum(len(row["text"].encode()) for row in DOCUMENTS)
    )
    assert ours["sample"]["tokens"] == len(ids_of(load_tokenizer(str(file))))
    english = next(row for row in theirs["by_source_and_language"] if row["language"] == "en")
    assert english["tokens_per_byte"] == 1.0


def test_the_report_depends_on_no_order_and_leaves_no_files(corpus: StageDirectory, file: Path) -> None:
    report = measured(file, corpus)
    assert measured(file, corpus, SerialRunner(order=lambda tasks: tasks[::-1])) == report
    assert [path.name for path in file.parent.iterdir()] == ["tokenizer.json"]


def test_a_text_that_does_not_come_back_is_named(
    corpus: StageDirectory, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(tokenizer: Tokenizer) -> list[bytes]:
        texts = token_bytes(tokenizer)
        texts[tokenizer.encode(DOCUMENTS[3]["text"]).ids[0]] = b"-"
        return texts

    monkeypatch.setattr(report_module, "token_bytes", wrong)
    report_module._token_texts.cache_clear()
    with pytest.raises(ShardsFailed, match="report-00002: document test/3 does not survive encoding and decoding"):
        measured(file, corpus)
    report_module._token_texts.cache_clear()


@given(st.lists(st.text(max_size=8), min_size=1, max_size=6), st.data())
def test_any_changed_token_is_found(texts: list[str], data: st.DataObject) -> None:
    column = column_of(texts)
    alphabet = np.arange(256).astype(np.uint8), np.arange(257)
    ids = column.data[: column.offsets[-1]].astype(np.uint16)
    assert token_texts.first_changed(column.data, column.offsets, ids, column.offsets, *alphabet) == -1
    if len(ids):
        place = data.draw(st.integers(0, len(ids) - 1))
        ids[place] ^= data.draw(st.sampled_from([1, 255, 256, 40_000]))
        document = int(np.searchsorted(column.offsets, place, side="right")) - 1
        found = token_texts.first_changed(column.data, column.offsets, ids, column.offsets, *alphabet)
        assert found == (document if ids[place] != column.data[place] else -1)


def test_a_missing_vocabulary_and_a_damaged_shard_are_named(corpus: StageDirectory, file: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.compare\.gpt2: nowhere\.json is not there"):
        measured(file, corpus, gpt2="nowhere.json")
    path = Path(corpus.path(corpus.shards[2]))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ShardsFailed, match=r"report-00002: .*shard-00002"):
        measured(file, corpus)


@given(st.lists(st.text(st.sampled_from("ab é\u3000\u1680\t\n\x1c\u200b中"), max_size=12), max_size=5))
def test_words_are_what_white_space_separates(texts: list[str]) -> None:
    column = column_of(texts)
    found = token_texts.count_words(column.data, column.offsets, characters.classes())
    assert found.tolist() == [len(text.split()) for text in texts]
