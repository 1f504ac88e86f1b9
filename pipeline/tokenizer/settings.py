"""What a recipe can say about the tokenizer. Light: loads no tokenizer library."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from pipeline.settings import Settings

END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>", "<|pad|>")
"""The head of every vocabulary: ids 0 (end of a document), 1 and 2 (frame of a chat message), 3 (padding)."""

BYTE_VALUES = 256
"""Every byte is a token, so that any text can be encoded and nothing is ever unknown."""

SpecialToken = Annotated[str, StringConstraints(pattern=r"^<\|[A-Za-z0-9_]+\|>$")]
"""In this form no piece of text that a pre-tokenizer cuts out can equal it, so no merge can take its id."""


class PreTokenization(Settings):
    """What decides where text is cut into pieces that merges never cross."""

    kind: Literal["gpt2", "gpt4"] = "gpt2"
    """See `TokenizerSettings.pre_tokenization`."""
    digits: Literal["single", "threes"] | None = None
    """See `TokenizerSettings.digits`."""
    cjk: Literal["characters", "runs"] | None = None
    """See `TokenizerSettings.cjk`."""


class TokenizerSettings(Settings):
    """Byte-level BPE, trained on the run's own corpus."""

    vocab_size: int = Field(default=32768, le=1 << 24)
    """Tokens in the vocabulary, special tokens and the 256 bytes included. Up to 65,536 a token takes two bytes in
    the token dataset. 32,768 suits one language and code from 100 MB of text on; a small corpus wants less."""
    min_frequency: int = Field(default=2, ge=1)
    """How often a pair of tokens must occur to be merged into a new one; 2 keeps one-time noise out."""
    pre_tokenization: Literal["gpt2", "gpt4"] = "gpt2"
    """How text is cut into pieces that merges never cross. gpt2: words with the space before them, runs of digits,
    runs of signs. gpt4: as in cl100k, digits in groups of at most three, line ends kept together."""
    extra_special_tokens: tuple[SpecialToken, ...] = ()
    """Further special tokens such as `<|tool|>`, in the form <|name|>; they get the ids after the four that every
    vocabulary has."""
    max_training_bytes: int = Field(default=1 << 30, ge=1)
    """Upper limit, on average, of the text in bytes that merges are learned from; of a larger corpus a share of the
    documents is chosen by hash. 1 GiB: merges hardly change beyond it."""

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """All special tokens in the order of their ids."""
        return SPECIAL_TOKENS + self.extra_special_tokens

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = self.special_tokens
        if len(set(names)) < len(names):
            repeated = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"extra_special_tokens repeats {', '.join(repeated)}: name each special token once")
        smallest = BYTE_VALUES + len(names)
        if self.vocab_size < smallest:
            raise ValueError(
                f"vocab_size {self.vocab_size} is smaller than the alphabet of {BYTE_VALUES} bytes and "
                f"{len(names)} special tokens: set it to at least {smallest}"
            )
        return self
