"""Tokens become text without ever cutting a character."""

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from tests.trainer.chat_tokenizer import SPECIAL, chat_tokenizer
from trainer.finetune.template import plain_text_tokenizer, special_id
from trainer.generate.text_stream import TextStream


@cache
def character_tokenizer() -> Tokenizer:
    """Tokens of characters, among them those that stand for bytes elsewhere; the others are spelled in bytes."""
    tokens = [*SPECIAL, *(f"<0x{value:02X}>" for value in range(256)), *"abé \u0120中", "aé", "aéb"]
    tokenizer = Tokenizer(
        models.BPE({token: index for index, token in enumerate(tokens)}, [("a", "é"), ("aé", "b")], byte_fallback=True)
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.encode_special_tokens = True
    return tokenizer


BOTH = pytest.mark.parametrize("tokenizer", [chat_tokenizer, character_tokenizer])


def pieces(ids: list[int], tokenizer: Callable[[], Tokenizer] = chat_tokenizer) -> list[str]:
    stream = TextStream(tokenizer())
    return [*(stream.push(token) for token in ids), stream.finish()]


@BOTH
@given(text=st.text(max_size=60) | st.text("aé\u0120中b龘<0x41>", max_size=60))
def test_any_text_comes_back_whole(tokenizer: Callable[[], Tokenizer], text: str) -> None:
    storable = text.encode("utf-8", "replace").decode()
    ids = plain_text_tokenizer(tokenizer()).encode(storable).ids  # special tokens in it are characters
    assert "".join(pieces(ids, tokenizer)) == storable


def test_a_character_of_several_tokens_comes_as_one_piece() -> None:
    ids = chat_tokenizer().encode("a🙂").ids
    assert len(ids) == 5
    assert pieces(ids) == ["a", "", "", "", "🙂", ""]
    ids = character_tokenizer().encode("aéb中🙂").ids
    assert pieces(ids, character_tokenizer) == ["aéb", "中", "", "", "", "🙂", ""]


def test_an_unfinished_character_is_shown_as_such_at_the_end() -> None:
    assert "".join(pieces(chat_tokenizer().encode("a🙂").ids[:-1])) == "a�"


@BOTH
def test_special_tokens_and_unknown_ids_have_no_text(tokenizer: Callable[[], Tokenizer]) -> None:
    assert "".join(pieces([special_id(tokenizer(), name) for name in SPECIAL] + [99_999], tokenizer)) == ""
