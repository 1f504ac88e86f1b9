"""What a recipe can say about the tokenizer. Light: loads no tokenizer library."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from pipeline.settings import Settings

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|pad|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>", PADDING)
"""The head of every vocabulary: ids 0 (end of a document), 1 and 2 (frame of a chat message), 3 (padding)."""

BYTE_VALUES = 256
"""Every byte is a token, so that any text can be encoded and nothing is ever unknown."""

Alphabet = Literal["bytes", "characters"]
"""The symbols that merges begin with."""

SpecialToken = Annotated[str, StringConstraints(pattern=r"^<\|_*[A-Za-z0-9][A-Za-z0-9_]*\|>$")]
"""In this form, signs around a letter or a digit, no piece of text that a pre-tokenizer cuts out can equal it, so no
merge can take its id."""


ComparedName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")]


class PreTokenization(Settings):
    """What decides where text is cut into pieces that merges never cross."""

    kind: Literal["gpt2", "gpt4"] = "gpt2"
    """See `TokenizerSettings.pre_tokenization`."""
    digits: Literal["single", "threes"] | None = None
    """See `TokenizerSettings.digits`."""
    cjk: Literal["characters", "runs"] | None = None
    """See `TokenizerSettings.cjk`."""


class Sampling(Settings):
    """How much the groups of documents count when merges are learned."""

    by: Literal["source", "language"]
    """What makes a group: the source a document came from, or the language that a stage found."""
    temperature: float = Field(ge=0, le=1)
    """A group with the share p of the text counts as if its share were p to this power: 1 as it is, 0 all alike; 0.7
    is usual for many languages. The largest group counts once, the others as if their documents were there more often:
    (bytes of the largest / bytes of the group) to the power of 1 - temperature."""


class TokenizerSettings(Settings):
    """BPE on bytes or characters, trained on the run's own corpus."""

    vocab_size: int = Field(default=32768, le=1 << 24)
    """Tokens in the vocabulary, special and reserved tokens and the 256 bytes included. Up to 65,536 a token takes two
    bytes in the token dataset. 32,768 suits one language and code from 100 MB of text on; a small corpus wants less."""
    min_frequency: int = Field(default=2, ge=1)
    """How often a pair of tokens must occur to be merged into a new one; 2 keeps one-time noise out."""
    max_token_length: int | None = Field(default=None, ge=2)
    """Tokens stay shorter than this number of bytes, or of characters where those are the alphabet (a pair of two may
    always be merged); null: no limit."""
    alphabet: Alphabet = "bytes"
    """What tokens are made of. bytes: GPT-2's way, and that of most models since. characters: that of Llama 1 and 2,
    for models that shall resemble them: the characters of the corpus are tokens, those that are not are spelled with
    256 tokens for single bytes, and no token ends inside a character."""
    alphabet_limit: int | None = Field(default=None, ge=1)
    """With `alphabet: characters`, the most characters that become tokens, the most frequent ones; others are spelled
    in bytes. null: every character of the corpus, which takes thousands of tokens where there is Chinese."""
    pre_tokenization: Literal["gpt2", "gpt4"] = "gpt2"
    """How text is cut into pieces that merges never cross. gpt2: words with the space before them, runs of digits,
    runs of signs. gpt4: as in cl100k, digits in groups of at most three, line ends kept together."""
    digits: Literal["single", "threes"] | None = None
    """single: each digit a piece. threes: groups of at most three, from the left. Both without the space before them.
    null: as `pre_tokenization` has them."""
    cjk: Literal["characters", "runs"] | None = None
    """Han characters, Hiragana and Katakana: each a piece of its own (characters) or runs of them (runs), apart from
    what is before and behind. null: like other letters."""
    extra_special_tokens: tuple[SpecialToken, ...] = ()
    """Further special tokens such as `<|tool|>`, in the form <|name|>; they get the ids after the four that every
    vocabulary has."""
    reserved_tokens: int = Field(default=0, ge=0)
    """Ids kept free behind the special tokens, named `<|reserved_0|>` and so on, for special tokens of later."""
    sampling: Sampling | None = None
    """How much sources or languages count; null: every byte counts alike."""
    max_training_bytes: int | None = Field(default=None, ge=1)
    """Upper limit, on average, of the text in bytes that merges are learned from; of a larger corpus a share of the
    documents is chosen by hash. null: the whole corpus."""
    max_piece_bytes: int = Field(default=65536, ge=16)
    """Longer pieces (a megabyte of letters without a space) are left out of the training, and their number is told:
    each takes memory of its own and teaches nothing."""
    min_piece_count: int = Field(default=1, ge=1)
    """Pieces that occur less often are left out of the training. 1: none, as in other trainers. 2 leaves out more than
    half of them, and with them half of the memory that the training takes."""
    compare: dict[ComparedName, str] = Field(default_factory=dict)
    """Other vocabularies to encode a sample of the corpus with, for the report: a name and the path of a
    tokenizer.json or of a .tiktoken file of up to 120,000 tokens, `gpt2: /data/gpt2/tokenizer.json`."""

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The special tokens in the order of their ids, without the reserved ones."""
        return SPECIAL_TOKENS + self.extra_special_tokens

    @property
    def reserved(self) -> tuple[str, ...]:
        """Names of the reserved tokens, whose ids follow those of the special tokens."""
        return tuple(f"<|reserved_{number}|>" for number in range(self.reserved_tokens))

    @property
    def pieces(self) -> PreTokenization:
        """The fields that decide where text is cut."""
        return PreTokenization(kind=self.pre_tokenization, digits=self.digits, cjk=self.cjk)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = self.special_tokens + self.reserved
        if len(set(names)) < len(names):
            repeated = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"extra_special_tokens repeats {', '.join(repeated)}: name each special token once")
        if self.alphabet_limit is not None and self.alphabet == "bytes":
            raise ValueError("alphabet_limit says how many characters become tokens: set alphabet to characters too")
        smallest = BYTE_VALUES + len(names) + (self.alphabet_limit or 0)
        if self.vocab_size < smallest:
            reserved = f" ({self.reserved_tokens} of them reserved)" if self.reserved_tokens else ""
            characters = f", {self.alphabet_limit} characters" if self.alphabet_limit else ""
            raise ValueError(
                f"vocab_size {self.vocab_size} is smaller than the alphabet of {BYTE_VALUES} bytes{characters} and "
                f"{len(names)} special tokens{reserved}: set it to at least {smallest}"
            )
        return self
