"""Weights are taken over only where every token has the number that they learned."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from trainer.initial_weights import require_same_tokens

VOCABULARY = {"<|reserved_0|>": 0, "a": 1, "b": 2, "ab": 3}


def write(path: Path, vocabulary: dict[str, int], merges: list[Any], **fields: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": merges}, **fields}))
    return path


def require(initial: Path, tokenizer: Path) -> None:
    require_same_tokens(initial, tokenizer, hashlib.sha256(tokenizer.read_bytes()).hexdigest())


def test_the_same_numbers_in_another_file_are_the_same_tokens(tmp_path: Path) -> None:
    own = write(tmp_path / "model" / "tokenizer.json", VOCABULARY, ["a b"])
    tokenizer = write(
        tmp_path / "tokenizer.json", VOCABULARY, [["a", "b"]], added_tokens=[{"id": 0, "content": "<|x|>"}]
    )
    require(own.parent, tokenizer)
    require(own.parent, own)


@pytest.mark.parametrize(("vocabulary", "merges"), [({**VOCABULARY, "a": 2, "b": 1}, ["a b"]), (VOCABULARY, [])])
def test_a_token_with_another_number_or_another_cut_is_refused(
    tmp_path: Path, vocabulary: dict[str, int], merges: list[str]
) -> None:
    write(tmp_path / "model" / "tokenizer.json", VOCABULARY, ["a b"])
    with pytest.raises(UserError, match="model was trained with another tokenizer than"):
        require(tmp_path / "model", write(tmp_path / "tokenizer.json", vocabulary, merges))


def test_without_its_tokenizer_nothing_can_be_said_of_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model/tokenizer\.json does not exist"):
        require(tmp_path / "model", write(tmp_path / "tokenizer.json", VOCABULARY, []))


def test_a_checkpoint_knows_its_tokenizer_by_its_fingerprint(tmp_path: Path) -> None:
    tokenizer = write(tmp_path / "tokenizer.json", VOCABULARY, [])
    checkpoint = tmp_path / "step_00000004"
    checkpoint.mkdir()
    (checkpoint / "COMPLETE").write_text("{}")
    known = hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    (checkpoint / "trainer.json").write_text(json.dumps({"identity": {"tokenizer": known}}))
    require(checkpoint, tokenizer)
    with pytest.raises(UserError, match="step_00000004 was trained with another tokenizer"):
        require(checkpoint, write(tmp_path / "other.json", VOCABULARY, ["a b"]))
