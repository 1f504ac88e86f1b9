"""A finished `model/` directory, ready to write text.

Decisions: weights are read with safetensors and put on a GPU when there is one; deepspeed is not needed. Each token
is computed once, with the KV cache. When the context is full, the last half of the text is kept and read again, so
a text may grow without end at a cost below two forward passes a token. A prompt that leaves no room for the answer
loses its beginning; a chat loses its oldest turns first, never a system message at its head. A prefix decoder reads
in both directions what it was trained to read so: a text's prompt, and of a chat what comes before the first answer.

Cost: about 10 ms a token for 7 M parameters on one core of a busy machine.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.errors import UserError
from trainer.finetune.template import (
    END_OF_TEXT,
    TURN_END,
    ChatTemplate,
    Message,
    load_tokenizer,
    plain_text_tokenizer,
    special_id,
)
from trainer.generate.sampling import next_tokens
from trainer.generate.settings import GenerateSettings
from trainer.generate.text_stream import TextStream
from trainer.model.cache import KeyValueCache
from trainer.model.gpt import GPT
from trainer.model.init import empty_model
from trainer.model.rows import RowContext
from trainer.settings import ModelShape

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS = "weights.safetensors"
SHAPE = "model.json"
TOKENIZER = "tokenizer.json"


class Generator:
    """Draws text from one model."""

    def __init__(self, model: GPT, tokenizer: "Tokenizer") -> None:
        """Raises UserError when the tokenizer has no end-of-text token."""
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._plain = plain_text_tokenizer(tokenizer)
        self._end_of_text_id = special_id(tokenizer, END_OF_TEXT)
        turn_end_id = tokenizer.token_to_id(TURN_END)
        self._ends = {self._end_of_text_id} if turn_end_id is None else {self._end_of_text_id, turn_end_id}
        self._context_length = model.shape.context_length
        self._device = model.token_embedding.weight.device

    @cached_property
    def _template(self) -> ChatTemplate:
        """Made for chats alone: a tokenizer from elsewhere, without ChatML's tokens, can still continue texts."""
        return ChatTemplate(self._tokenizer)

    def stream(self, prompt: str, settings: GenerateSettings) -> Iterator[str]:
        """The continuation of a text, piece by piece, until the model ends the document."""
        ids = [self._end_of_text_id, *self._plain.encode(prompt, add_special_tokens=False).ids]
        return self._text(ids[-self._room(settings) :], settings)

    def chat(self, messages: Sequence[Message], settings: GenerateSettings) -> Iterator[str]:
        """The assistant's next message, piece by piece, until the model ends its turn."""
        kept = self._fitting(messages, self._room(settings))
        question = next((at for at, message in enumerate(kept) if message.role == "assistant"), len(kept))
        prompt, prefix = (self._template.encode_prompt(turns) for turns in (kept, kept[:question]))
        cut_off = max(0, len(prompt) - self._room(settings))
        return self._text(prompt[cut_off:], settings, max(0, len(prefix) - cut_off))

    def tokens(
        self, prompt: Sequence[int], settings: GenerateSettings, stop: Collection[int], prefix: int | None = None
    ) -> Iterator[int]:
        """Ids after a prompt of 1 to context-length ids; ends before a stop id or after `max_new_tokens`.

        A prefix decoder reads the first `prefix` ids in both directions; None: all of the prompt.
        """
        draws = torch.Generator(self._device).manual_seed(settings.seed)
        cache = KeyValueCache(self._model.shape, 1, device=self._device)
        seen = list(prompt)
        unread = seen
        for _ in range(settings.max_new_tokens):
            if cache.length + len(unread) > self._context_length:
                seen = seen[-max(1, self._context_length // 2) :]
                cache.rewind(0)
                unread, prefix = seen, None
            token = int(next_tokens(self._last_logits(unread, cache, prefix), settings, draws))
            if token in stop:
                return
            yield token
            seen.append(token)
            unread = [token]

    def _text(self, prompt: Sequence[int], settings: GenerateSettings, prefix: int | None = None) -> Iterator[str]:
        text = TextStream(self._tokenizer)
        for token in self.tokens(prompt, settings, self._ends, prefix):
            if piece := text.push(token):
                yield piece
        if rest := text.finish():
            yield rest

    @torch.inference_mode()
    def _last_logits(self, tokens: Sequence[int], cache: KeyValueCache, prefix: int | None) -> Tensor:
        """[1, V] after reading the tokens on top of the cache."""
        context = RowContext()
        if self._model.shape.prefix_decoder and cache.length == 0:
            end = len(tokens) if prefix is None else prefix
            context = RowContext(prefix_B=torch.tensor([end], dtype=torch.int32, device=self._device))
        logits_BTV: Tensor = self._model(torch.tensor([tokens], device=self._device), cache, context=context)
        return logits_BTV[:, -1]

    def _room(self, settings: GenerateSettings) -> int:
        """Tokens that a prompt may have: the answer gets its `max_new_tokens`, but at most half the context."""
        return max(1, self._context_length - min(settings.max_new_tokens, self._context_length // 2))

    def _fitting(self, messages: Sequence[Message], room: int) -> list[Message]:
        """The messages without the oldest turns, as many as the room needs; at least the last one stays."""
        head = messages[:1] if messages and messages[0].role == "system" else []
        turns = list(messages[len(head) :])
        ids = self._template.encode_prompt([*head, *turns])
        while len(ids) > room and len(turns) > 1:
            del turns[0]
            while len(turns) > 1 and turns[0].role != "user":  # an answer without its question misleads
                del turns[0]
            ids = self._template.encode_prompt([*head, *turns])
        return [*head, *turns]


def load_generator(model_directory: Path, device: str | None = None) -> Generator:
    """Read a finished model; on the first GPU unless a device is given.

    Raises:
        UserError: the directory is unfinished, damaged, or its tokenizer is of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    shape_path, weights_path = model_directory / SHAPE, model_directory / WEIGHTS
    if not shape_path.exists() or not weights_path.exists():
        raise UserError(f"{model_directory} holds no finished model: run `gptmill pretrain` or `finetune` first")
    tokenizer = load_tokenizer(model_directory / TOKENIZER)
    try:
        shape = ModelShape.model_validate_json(shape_path.read_bytes())
        model = empty_model(shape)
        model.load_state_dict(load_file(weights_path), strict=True, assign=True)
    except (ValueError, RuntimeError, SafetensorError) as fault:
        reason = " ".join(str(fault).split())
        raise UserError(f"{model_directory} is damaged ({reason}): run the training step again") from fault
    if tokenizer.get_vocab_size() > shape.vocab_size:
        raise UserError(
            f"{model_directory / TOKENIZER} has {tokenizer.get_vocab_size()} tokens, the model {shape.vocab_size}: "
            f"it is the tokenizer of another model"
        )
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Generator(model.to(chosen), tokenizer)
