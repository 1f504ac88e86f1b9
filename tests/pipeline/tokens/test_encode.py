"""Encoding a shard: what is compared with the library, and what becomes of a shard that is encoded otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import ShardsFailed
from pipeline.shard import StageDirectory
from pipeline.tokenizer.encoder import Encoded, Encoder
from pipeline.tokens.format import read_tokens_manifest
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.write import write_tokens
from tests.pipeline.runner import SerialRunner

SETTINGS = TokensSettings(context_length=16, validation_fraction=0.2)
VOCAB_SIZE = 280
TEXTS = [[f"She sells sea shells by the sea shore {shard} {number}." for number in range(30)] for shard in range(3)]


def test_in_every_shard_documents_are_compared_with_the_library(
    corpus: StageDirectory, tokenizer: str, tmp_path: Path
) -> None:
    write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path), SerialRunner())
    records = [storage.read_json(f"{tmp_path}/encoded/{shard.name}.json") for shard in corpus.shards]
    assert all(record["compared_documents"] > 0 for record in records)
    manifest = read_tokens_manifest(str(tmp_path))
    assert manifest["compared_documents"] == sum(record["compared_documents"] for record in records)
    assert manifest["why_not_compiled"] is None


def test_a_shard_that_is_encoded_otherwise_fails_by_name_and_nothing_is_finished(
    corpus: StageDirectory, tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Encoder.encode

    def wrong(self: Encoder, column: object) -> Encoded:
        encoded = right(self, column)  # type: ignore[arg-type]
        encoded.ids[4] ^= 1
        return encoded

    monkeypatch.setattr(Encoder, "encode", wrong)
    with pytest.raises(ShardsFailed, match=r"shard-00001\.arrow: document test/30 is encoded otherwise .* token 4 on"):
        write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path), SerialRunner())
    assert not (tmp_path / "tokens.json").exists()
    monkeypatch.undo()
    write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path), SerialRunner())
    assert (tmp_path / "tokens.json").exists()


def test_a_tokenizer_that_the_kernels_do_not_know_is_named_in_the_manifest(
    corpus: StageDirectory, tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path / "compiled"), SerialRunner())
    monkeypatch.setattr("pipeline.tokenizer.encoder.MOST_TOKENS", 100)
    monkeypatch.setattr("pipeline.tokenizer.encoder.encoder_of_worker", _encoder_of_worker)
    manifest = write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path / "library"), SerialRunner())
    assert "more than 100 tokens" in manifest["why_not_compiled"]
    compiled = read_tokens_manifest(str(tmp_path / "compiled"))
    assert manifest["splits"] == compiled["splits"]


def _encoder_of_worker(url: str, sha256: str) -> Encoder:
    """Without the cache, which holds a compiled one."""
    return Encoder.from_tokenizer(storage.read_bytes(url), url, sha256)
