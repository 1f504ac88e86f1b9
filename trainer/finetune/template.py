"""A conversation as the model sees it, and which of its tokens are trained.

ChatML (OpenAI 2023), after one `<|endoftext|>`, so that a conversation begins where a document would:

    <|endoftext|><|im_start|>user\n...<|im_end|>\n<|im_start|>assistant\n...<|im_end|>\n

Decisions: special ids come only from the template. The content is encoded with special tokens switched off, so a
user who types `<|im_end|>` gets the characters and cannot end his turn. Each content is encoded by itself: the
tokens of an answer are the same in training and after the prompt in generation. Trained are the tokens of each
assistant's content and its `<|im_end|>` (the model must learn to stop); the header is given in generation, so it
is not trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pipeline.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")
ANSWERING: Role = "assistant"

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
PADDING = "<|pad|>"


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class EncodedConversation:
    """Token ids, and for each whether it is a target that counts."""

    input_ids: list[int]
    loss_mask: list[bool]
    """As long as `input_ids`."""


class ChatTemplate:
    """Encodes conversations with one tokenizer.

    Raises:
        UserError: the tokenizer lacks one of the special tokens.
    """

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = plain_text_tokenizer(tokenizer)
        self.end_of_text_id = special_id(tokenizer, END_OF_TEXT)
        self.turn_start_id = special_id(tokenizer, TURN_START)
        self.turn_end_id = special_id(tokenizer, TURN_END)
        self._newline = self.encode_text("\n")

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text in which special tokens are plain characters."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode(self, messages: Sequence[Message]) -> EncodedConversation:
        """The whole conversation with its loss mask, for training."""
        ids, mask = [self.end_of_text_id], [False]
        for message in messages:
            header, content = self._header(message.role), self.encode_text(message.content)
            trained = message.role == ANSWERING
            ids += [*header, *content, self.turn_end_id, *self._newline]
            mask += [False] * len(header) + [trained] * (len(content) + 1) + [False] * len(self._newline)
        return EncodedConversation(ids, mask)

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """The conversation so far and the head of the assistant's turn, for generation."""
        return self.encode(messages).input_ids + self._header(ANSWERING)

    def _header(self, role: Role) -> list[int]:
        return [self.turn_start_id, *self.encode_text(f"{role}\n")]


def special_id(tokenizer: "Tokenizer", name: str) -> int:
    """Id of a special token.

    Raises:
        UserError: the tokenizer lacks it.
    """
    found = tokenizer.token_to_id(name)
    if found is None:
        raise UserError(
            f"the tokenizer has no token {name}: those of `gptmill tokenizer` have it; one from elsewhere must "
            "get it as a special token, with an id that the model knows"
        )
    return found


def plain_text_tokenizer(tokenizer: "Tokenizer") -> "Tokenizer":
    """A copy of the tokenizer that reads special tokens as the characters they are written with."""
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.encode_special_tokens = True
    return copy


def load_tokenizer(path: Path) -> "Tokenizer":
    """Read a tokenizer.json.

    Raises:
        UserError: it is not there or damaged.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        raise UserError(f"{path} is missing: run `gptmill tokenizer` first") from fault
    except Exception as fault:  # the tokenizers library raises bare Exception
        raise UserError(f"{path} is no tokenizer ({fault}): remove it and run `gptmill tokenizer` again") from fault
