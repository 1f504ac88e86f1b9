"""Vocabularies of others are opened as what they are."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pipeline.errors import UserError
from pipeline.kernels.column import column_of
from pipeline.tokenizer.compared import opened
from pipeline.tokenizer.encoder import Encoder
from pipeline.tokenizer.load import token_bytes
from pipeline.tokenizer.merges import tokenizer_of, train_merges
from pipeline.tokenizer.pieces import pre_tokenizer_of
from pipeline.tokenizer.settings import PreTokenization
from tests.pipeline.filters.judging import real_texts
from tests.pipeline.tokenizer.test_merges import pieces_counted

GPT2 = PreTokenization(kind="gpt2")


@pytest.fixture(scope="module")
def ours() -> Tokenizer:
    """Without special tokens, as a .tiktoken file is."""
    merges = train_merges(pieces_counted(real_texts(40), GPT2), 2000, 2, ())
    return tokenizer_of(merges, pre_tokenizer_of(GPT2))


@pytest.fixture
def ranks(ours: Tokenizer, tmp_path: Path) -> Path:
    path = tmp_path / "small.tiktoken"
    lines = [f"{base64.b64encode(text).decode()} {rank}" for rank, text in enumerate(token_bytes(ours))]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_ranks_encode_as_the_merges_that_they_come_from(ours: Tokenizer, ranks: Path, tmp_path: Path) -> None:
    url, sha256 = opened("small", str(ranks), str(tmp_path))
    encoder = Encoder.from_tokenizer(Path(url).read_bytes(), url, sha256)
    assert encoder.why_not_compiled is None
    texts = [*real_texts(60), "größer 世界 \U0001f600 <|endoftext|>", ""]
    encoded = encoder.encode(column_of(texts))
    for document, text in enumerate(texts):
        found = encoded.ids[encoded.starts[document] : encoded.starts[document + 1]]
        assert found.tolist() == ours.encode(text).ids


def test_ranks_encode_as_in_tiktoken(ranks: Path, tmp_path: Path) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    mergeable = {
        base64.b64decode(token): int(rank) for token, rank in (line.split() for line in ranks.read_bytes().splitlines())
    }
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    theirs = tiktoken.Encoding("small", pat_str=pattern, mergeable_ranks=mergeable, special_tokens={})
    url, sha256 = opened("small", str(ranks), str(tmp_path))
    encoder = Encoder.from_tokenizer(Path(url).read_bytes(), url, sha256)
    for text in real_texts(60):
        assert encoder.encode(column_of([text])).ids.tolist() == theirs.encode_ordinary(text)


def test_a_tokenizer_json_is_used_where_it_lies(ours: Tokenizer, tmp_path: Path) -> None:
    ours.save(str(tmp_path / "other.json"))
    assert opened("other", str(tmp_path / "other.json"), str(tmp_path / "place"))[0] == str(tmp_path / "other.json")
    assert not (tmp_path / "place").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.json", None, "tokenizer.compare.x: .*missing.json is not there"),
        ("bad.json", b"{}", "tokenizer.compare.x: .*bad.json is no tokenizer.json"),
        ("bad.tiktoken", b"YQ== 0\nnot-base64 1\n", "line 2 of .*bad.tiktoken is no token in base64 and its rank"),
        ("bad.tiktoken", b"YQ==\n", "line 1 of .*bad.tiktoken is no token in base64 and its rank"),
    ],
)
def test_what_is_no_vocabulary_is_named(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        opened("x", str(tmp_path / name), str(tmp_path))


def test_ranks_with_an_unknown_pre_tokenization_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.tiktoken"
    path.write_text(
        "\n".join(f"{base64.b64encode(number.to_bytes(3, 'big')).decode()} {number}" for number in range(120_001))
    )
    with pytest.raises(UserError, match=r"120,001 tokens, .*: give its tokenizer.json"):
        opened("large", str(path), str(tmp_path))
