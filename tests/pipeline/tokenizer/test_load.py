from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers

from pipeline.errors import UserError
from pipeline.tokenizer.load import (
    byte_characters,
    id_bound,
    load_tokenizer,
    one_thread,
    token_byte_lengths,
    token_bytes,
)
from pipeline.tokenizer.settings import Alphabet, TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from tests.pipeline.corpora import write_texts
from tests.pipeline.runner import SerialRunner
from tests.pipeline.tokenizer.tokenizers_for_tests import trained_tokenizer


@pytest.fixture(scope="module", params=get_args(Alphabet))
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("load")
    corpus = write_texts(folder / "corpus", [["a rose is a rose is a rose, über alles\n" * 20]])
    settings = TokenizerSettings(vocab_size=275, alphabet=request.param)
    train_tokenizer(settings, corpus, str(folder), SerialRunner())
    return load_tokenizer(str(folder / "tokenizer.json"))


def test_the_byte_characters_are_the_library_s_alphabet() -> None:
    assert len(set(byte_characters())) == 256
    assert set(byte_characters()) == set(pre_tokenizers.ByteLevel.alphabet())


def test_special_tokens_stand_for_no_bytes(tokenizer: Tokenizer) -> None:
    assert token_bytes(tokenizer)[:4] == [b""] * 4
    assert token_byte_lengths(tokenizer)[4:].min() == 1


@given(st.text())
def test_a_text_is_the_concatenation_of_its_tokens_bytes(tokenizer: Tokenizer, text: str) -> None:
    table = token_bytes(tokenizer)
    ids = tokenizer.encode(text).ids
    assert b"".join(table[index] for index in ids) == text.encode()
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_a_token_of_a_byte_is_one_byte_and_other_tokens_are_their_characters() -> None:
    tokenizer = Tokenizer.from_str(trained_tokenizer(alphabet="characters").decode())
    table = {tokenizer.id_to_token(index): text for index, text in enumerate(token_bytes(tokenizer))}
    assert [table[f"<0x{value:02X}>"] for value in range(256)] == [bytes([value]) for value in range(256)]
    assert table["世"] == "世".encode()
    assert table["<|pad|>"] == b""


def test_nobody_knows_what_the_tokens_of_another_decoder_stand_for() -> None:
    tokenizer = Tokenizer.from_str(trained_tokenizer(alphabet="characters").decode())
    decoder = decoders.Sequence([decoders.Replace("e", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.decoder = decoder
    with pytest.raises(KeyError):
        token_bytes(tokenizer)


def test_another_file_than_the_expected_one_is_refused_with_both_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    with pytest.raises(UserError, match=r"was changed \(sha256 [0-9a-f]{12}, expected 000000000000\)"):
        load_tokenizer(str(path), "0" * 64)
    path.write_text("{")
    with pytest.raises(UserError, match="is no tokenizer"):
        load_tokenizer(str(path))


def test_the_thread_setting_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    with one_thread():
        assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    with one_thread():
        pass
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.json does not exist: run the step that writes it again"):
        load_tokenizer(str(tmp_path / "tokenizer.json"))


def test_added_tokens_that_are_not_special_are_written_as_text() -> None:
    """GPT-NeoX's vocabulary has runs of spaces that are no byte characters; an é there is a letter, not a byte."""
    tokenizer = Tokenizer.from_str(trained_tokenizer().decode())
    added = ["    ", "é!"]
    tokenizer.add_tokens(added)
    table = token_bytes(tokenizer)
    assert [table[tokenizer.token_to_id(text)] for text in added] == [text.encode() for text in added]
    text = "a    b é! c"
    assert b"".join(table[index] for index in tokenizer.encode(text).ids) == text.encode()


def test_ids_may_be_left_out() -> None:
    content = json.loads(trained_tokenizer())
    highest = max(content["model"]["vocab"].values())
    content["added_tokens"].append({**content["added_tokens"][0], "id": highest + 5, "content": "<|late|>"})
    content["model"]["vocab"]["<|late|>"] = highest + 5
    tokenizer = Tokenizer.from_str(json.dumps(content))
    assert id_bound(tokenizer) == highest + 6 > tokenizer.get_vocab_size()
    assert token_bytes(tokenizer)[highest + 1 :] == [b""] * 5
