"""Tokenizers for tests, trained by the library on a few texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel

from pipeline.tokenizer.pieces import pre_tokenizer_of
from pipeline.tokenizer.settings import SPECIAL_TOKENS, PreTokenization

TEXTS = [
    "The quick brown fox doesn't jump over the lazy dog's 12345 hedges, and she'll say: \"sea shells\"!\r\n\n\t" * 3,
    "def größer(x1, y_2):\n    return x1 ** 2 + y_2 - 31415926535  # 世界、こんにちは。 Привет, мир!\n" * 3,
    "naïve café  \u00a0\u2003 e\u0301 ‘quotes’ — ٣٤٥ हिन्दी भाषा ภาษาไทย 한국어 \U0001f468\u200d\U0001f469 <|endoftext|>"
    * 3,
]


def trained_tokenizer(
    pre_tokenization: PreTokenization | None = None, vocab_size: int = 500, texts: Sequence[str] = TEXTS
) -> bytes:
    """A tokenizer.json of byte-level BPE as a run writes it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer_of(pre_tokenization or PreTokenization())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str().encode()


def changed(content: bytes, model: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """The tokenizer.json with other fields, at its top and in its model."""
    file = json.loads(content)
    return json.dumps({**file, **fields, "model": {**file["model"], **(model or {})}}).encode()
