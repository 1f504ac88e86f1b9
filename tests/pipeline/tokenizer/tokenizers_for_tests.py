"""Tokenizers for tests, trained by the library on a few texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, trainers
from tokenizers.pre_tokenizers import ByteLevel

from pipeline.tokenizer.load import BYTE_TOKENS
from pipeline.tokenizer.pieces import pre_tokenizer_of
from pipeline.tokenizer.settings import SPECIAL_TOKENS, Alphabet, PreTokenization

TEXTS = [
    "The quick brown fox doesn't jump over the lazy dog's 12345 hedges, and she'll say: \"sea shells\"!\r\n\n\t" * 3,
    "def größer(x1, y_2):\n    return x1 ** 2 + y_2 - 31415926535  # 世界、こんにちは。 Привет, мир!\n" * 3,
    "naïve café  \u00a0\u2003 e\u0301 ‘quotes’ — ٣٤٥ हिन्दी भाषा ภาษาไทย 한국어 \U0001f468\u200d\U0001f469 <|endoftext|>"
    * 3,
]


def trained_tokenizer(
    pre_tokenization: PreTokenization | None = None,
    vocab_size: int = 500,
    texts: Sequence[str] = TEXTS,
    alphabet: Alphabet = "bytes",
) -> bytes:
    """A tokenizer.json as a run writes it."""
    named = [AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS]
    return trained_by_the_library(
        texts,
        PreTokenization() if pre_tokenization is None else pre_tokenization,
        named,
        alphabet,
        vocab_size=vocab_size,
    )


def trained_by_the_library(
    texts: Sequence[str],
    pre_tokenization: PreTokenization,
    special: Sequence[AddedToken],
    alphabet: Alphabet,
    **settings: Any,
) -> bytes:
    """What the library's own trainer makes of texts.

    It has no way to begin a vocabulary with the tokens of single bytes but to call them special; they are no longer in
    the file.
    """
    characters = alphabet == "characters"
    tokenizer = Tokenizer(models.BPE(byte_fallback=characters))
    tokenizer.pre_tokenizer = pre_tokenizer_of(pre_tokenization, alphabet)
    tokenizer.decoder = (
        decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()]) if characters else decoders.ByteLevel()
    )
    trainer = trainers.BpeTrainer(
        special_tokens=[*special, *BYTE_TOKENS] if characters else [*special],
        initial_alphabet=[] if characters else ByteLevel.alphabet(),
        show_progress=False,
        **settings,
    )
    tokenizer.train_from_iterator(texts, trainer)
    file = json.loads(tokenizer.to_str())
    file["added_tokens"] = [token for token in file["added_tokens"] if token["content"] not in BYTE_TOKENS]
    return json.dumps(file).encode()


def changed(content: bytes, model: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """The tokenizer.json with other fields, at its top and in its model."""
    file = json.loads(content)
    return json.dumps({**file, **fields, "model": {**file["model"], **(model or {})}}).encode()
