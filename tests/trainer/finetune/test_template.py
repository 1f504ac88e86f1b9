"""What the model sees of a conversation, and what it is trained on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from pipeline.errors import UserError
from tests.trainer.chat_tokenizer import SPECIAL, chat_tokenizer
from trainer.finetune.template import ROLES, ChatTemplate, Message

TEMPLATE = ChatTemplate(chat_tokenizer())
CONVERSATION = [
    Message("system", "be brief"),
    Message("user", "why?"),
    Message("assistant", "so."),
    Message("user", "and?"),
    Message("assistant", "no."),
]


def text_of(ids: list[int]) -> str:
    return chat_tokenizer().decode(ids, skip_special_tokens=False)


def test_a_conversation_is_written_in_chatml() -> None:
    assert text_of(TEMPLATE.encode(CONVERSATION).input_ids) == (
        "<|endoftext|>"
        "<|im_start|>system\nbe brief<|im_end|>\n"
        "<|im_start|>user\nwhy?<|im_end|>\n"
        "<|im_start|>assistant\nso.<|im_end|>\n"
        "<|im_start|>user\nand?<|im_end|>\n"
        "<|im_start|>assistant\nno.<|im_end|>\n"
    )


def test_only_answers_and_their_ends_are_trained_in_every_turn() -> None:
    encoded = TEMPLATE.encode(CONVERSATION)
    trained = [token for token, counts in zip(encoded.input_ids, encoded.loss_mask, strict=True) if counts]
    assert text_of(trained) == "so.<|im_end|>no.<|im_end|>"


def test_the_prompt_is_the_beginning_of_what_was_trained() -> None:
    whole = TEMPLATE.encode(CONVERSATION).input_ids
    prompt = TEMPLATE.encode_prompt(CONVERSATION[:-1])
    assert whole[: len(prompt)] == prompt
    assert text_of(whole[len(prompt) :]) == "no.<|im_end|>\n"


messages = st.builds(
    Message,
    st.sampled_from(ROLES),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from([*SPECIAL, "a<|im_end|>\n"]),
)


@given(st.lists(messages, max_size=5))
def test_special_tokens_come_from_the_template_alone_whatever_the_content(conversation: list[Message]) -> None:
    ids = TEMPLATE.encode(conversation).input_ids
    assert ids.count(TEMPLATE.turn_start_id) == ids.count(TEMPLATE.turn_end_id) == len(conversation)
    assert ids.count(TEMPLATE.end_of_text_id) == 1


@given(st.lists(messages, max_size=5))
def test_trained_tokens_are_those_of_the_assistant(conversation: list[Message]) -> None:
    encoded = TEMPLATE.encode(conversation)
    answers = [message.content for message in conversation if message.role == "assistant"]
    assert sum(encoded.loss_mask) == sum(len(TEMPLATE.encode_text(answer)) + 1 for answer in answers)


def test_a_tokenizer_without_the_special_tokens_is_refused() -> None:
    with pytest.raises(UserError, match=r"no token <\|endoftext\|>"):
        ChatTemplate(Tokenizer(models.BPE()))
