"""Tokens become text without ever cutting a character."""

from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.chat_tokenizer import SPECIAL, chat_tokenizer
from trainer.finetune.template import special_id
from trainer.generate.text_stream import TextStream


def pieces(ids: list[int]) -> list[str]:
    stream = TextStream(chat_tokenizer())
    return [*(stream.push(token) for token in ids), stream.finish()]


@given(st.text(max_size=60))
def test_any_text_comes_back_whole(text: str) -> None:
    storable = text.encode("utf-8", "replace").decode()
    assert "".join(pieces(chat_tokenizer().encode(storable).ids)) == storable


def test_a_character_of_several_tokens_comes_as_one_piece() -> None:
    ids = chat_tokenizer().encode("a🙂").ids
    assert len(ids) == 5
    assert pieces(ids) == ["a", "", "", "", "🙂", ""]


def test_an_unfinished_character_is_shown_as_such_at_the_end() -> None:
    assert "".join(pieces(chat_tokenizer().encode("a🙂").ids[:-1])) == "a�"


def test_special_tokens_and_unknown_ids_have_no_text() -> None:
    assert "".join(pieces([special_id(chat_tokenizer(), name) for name in SPECIAL] + [99_999])) == ""
