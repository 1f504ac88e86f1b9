"""Texts to token ids, many times as fast as the `tokenizers` library and with the very ids that it gives.

A `tokenizer.json` of BPE on bytes or characters with one of our pre-tokenizations (the file's own words are compared
with what `pieces.pre_tokenizer_of` writes) is encoded by compiled kernels. Any other is encoded by the library itself,
through the same interface; `Encoder.why_not_compiled` says why. Special tokens in texts are encoded as plain text.

An encoder remembers pieces that it has seen (36 MB at most), which changes no id. It is made for one thread.
Cost: 0.15 s to make one for 32,768 tokens; bench.encode tells the speed.
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import numpy as np

from pipeline import storage
from pipeline.errors import UserError
from pipeline.kernels.bpe_encoding import LONGEST_REMEMBERED, encode_pieces, fill_words
from pipeline.kernels.bpe_merging import ABSENT, MOST_TOKENS, SPELLED, fill_pairs
from pipeline.kernels.column import TextColumn, texts_of
from pipeline.kernels.hashing import slots_for
from pipeline.tokenizer.load import BYTE_TOKENS, byte_characters, id_bound, one_thread, tokenizer_from_bytes
from pipeline.tokenizer.pieces import kernel_arguments, pre_tokenizer_of
from pipeline.tokenizer.settings import Alphabet, PreTokenization

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KERNELS = ("bpe_encoding", "bpe_merging", "pretokens")
"""Kernel modules that an encoder calls."""

SHORT_PIECES = 1 << 19
"""Pieces of up to 15 bytes that are remembered, 32 bytes each. The second half of 33 MB of web pages in many languages
is encoded a third faster with these and the long ones below than with a quarter of them."""
LONG_PIECES = 1 << 17
"""Other pieces that are remembered, 64 bytes each."""
LONG_BYTES = 1 << 22
"""Bytes of those, and twice as many for their tokens."""
LONGEST_TEXT = (1 << 31) - 1


@dataclass(frozen=True)
class Encoded:
    """The tokens of a column of texts, one text behind the other."""

    ids: np.ndarray
    """uint16 or uint32 [tokens], as `Encoder.dtype` says."""
    starts: np.ndarray
    """int64 [documents + 1]: document d has the tokens `ids[starts[d]:starts[d + 1]]`; an empty text has none."""

    def __len__(self) -> int:
        return len(self.starts) - 1


class _Unknown(Exception):
    """A tokenizer that the kernels do not know; the message says what it is that they do not know."""


class Encoder:
    """Encodes columns of texts with one tokenizer."""

    def __init__(self, content: bytes, url: str = "tokenizer.json", sha256: str | None = None) -> None:
        """See `from_tokenizer`."""
        self.tokenizer: Tokenizer = tokenizer_from_bytes(content, url, sha256)
        """The library's tokenizer of the same file, special tokens as plain text."""
        self.vocab_size: int = id_bound(self.tokenizer)
        """All ids are below this."""
        self.dtype = np.dtype("<u2") if self.vocab_size <= 1 << 16 else np.dtype("<u4")
        """The smallest unsigned type that holds every token id: uint16 or uint32, little-endian."""
        self.why_not_compiled: str | None = None
        """What the kernels do not know about the tokenizer, so that the library encodes; None when they encode."""
        self._tables: _Tables | None = None
        try:
            self._tables = _tables_of(json.loads(content), self.tokenizer)
        except _Unknown as reason:
            self.why_not_compiled = str(reason)

    @classmethod
    def from_tokenizer(cls, content: bytes, url: str = "tokenizer.json", sha256: str | None = None) -> Encoder:
        """The encoder of a `tokenizer.json`, given as bytes; `url` is for messages.

        Raises:
            UserError: the file is no tokenizer, or not the one with the expected sha256.
        """
        return cls(content, url, sha256)

    def encode(self, column: TextColumn) -> Encoded:
        """The tokens of each text, without special tokens. Memory: up to 8 bytes for each token.

        Raises:
            UserError: a text has 2 GiB or more.
        """
        if len(column) and int(np.diff(column.offsets).max()) > LONGEST_TEXT:
            place = int(np.argmax(np.diff(column.offsets)))
            raise UserError(f"text {place} of the batch has 2 GiB or more, which is no document: leave it out")
        if self._tables is None:
            return self._encode_by_library(column)
        return self._tables.encode(column, self.dtype)

    def _encode_by_library(self, column: TextColumn) -> Encoded:
        with one_thread():
            found = self.tokenizer.encode_batch_fast(
                texts_of(column.data, column.offsets).to_pylist(), add_special_tokens=False
            )
        starts = np.zeros(len(found) + 1, np.int64)
        np.cumsum([len(encoding.ids) for encoding in found], out=starts[1:])
        ids = itertools.chain.from_iterable(encoding.ids for encoding in found)
        return Encoded(np.fromiter(ids, self.dtype, count=int(starts[-1])), starts)


@lru_cache(maxsize=1)
def encoder_of_worker(url: str, sha256: str) -> Encoder:
    """The encoder of a `tokenizer.json`, once a worker process.

    Raises:
        UserError: the file is no tokenizer, or not the one with the expected sha256.
    """
    return Encoder.from_tokenizer(storage.read_bytes(url), url, sha256)


@dataclass(frozen=True)
class _Tables:
    """A tokenizer as the kernels read it, and the pieces they remember; see `bpe_encoding.encode_pieces`."""

    classes: np.ndarray
    kind: int
    initial: np.ndarray
    characters: np.ndarray
    pairs: np.ndarray
    shift: np.uint64
    words: np.ndarray
    word_bytes: np.ndarray
    word_offsets: np.ndarray
    short: np.ndarray = field(default_factory=lambda: np.zeros(4 * SHORT_PIECES, np.uint64))
    long_slots: np.ndarray = field(default_factory=lambda: np.zeros(8 * LONG_PIECES, np.uint64))
    long_bytes: np.ndarray = field(default_factory=lambda: np.zeros(LONG_BYTES + LONGEST_REMEMBERED, np.uint8))
    long_tokens: np.ndarray = field(default_factory=lambda: np.zeros(LONG_BYTES // 2 + LONGEST_REMEMBERED, np.uint32))
    used: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))

    def encode(self, column: TextColumn, dtype: np.dtype[Any]) -> Encoded:
        starts = np.empty(len(column) + 1, np.int64)
        ids = np.empty(int(column.offsets[-1] - column.offsets[0]) + 2, np.uint32)
        count = encode_pieces(
            column.data, column.offsets, self.classes, self.kind, self.initial, self.characters, self.pairs,
            self.shift, self.words, self.word_bytes, self.word_offsets, self.short, self.long_slots, self.long_bytes,
            self.long_tokens, self.used, ids, starts,
        )  # fmt: skip
        return Encoded(ids[:count].astype(dtype), starts)


def _tables_of(file: dict[str, Any], tokenizer: Tokenizer) -> _Tables:
    """The tables of a tokenizer.json, which the library has already found sound.

    Raises:
        _Unknown: the kernels do not know such a tokenizer.
    """
    model = file["model"]
    _require_plain(file, model)
    pre_tokenization, alphabet = _pre_tokenization(tokenizer)
    classes, kind = kernel_arguments(pre_tokenization)
    if alphabet == "characters" and not model.get("byte_fallback"):
        raise _Unknown("its pre-tokenizer keeps characters, but its model has no byte_fallback")
    vocabulary: dict[str, int] = model["vocab"]
    if not vocabulary or max(vocabulary.values()) >= MOST_TOKENS or len(model["merges"]) >= MOST_TOKENS:
        raise _Unknown(f"its vocabulary is empty or has more than {MOST_TOKENS} tokens")
    names = byte_characters() if alphabet == "bytes" else BYTE_TOKENS
    if missing := [name for name in names if name not in vocabulary]:
        raise _Unknown(f"{len(missing)} of the 256 bytes are no tokens")
    initial = np.array([vocabulary[name] for name in names], np.uint32)
    characters = _characters(vocabulary) if alphabet == "characters" else np.empty(0, np.uint32)
    pairs, shift = _pairs(model["merges"], vocabulary)
    words, word_bytes, word_offsets = _words(vocabulary if model.get("ignore_merges") else {}, alphabet)
    for array in (initial, characters, pairs, words, word_bytes, word_offsets):
        array.flags.writeable = False
    return _Tables(classes, kind, initial, characters, pairs, shift, words, word_bytes, word_offsets)


def _require_plain(file: dict[str, Any], model: dict[str, Any]) -> None:
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise _Unknown(f"its model is {model.get('type', 'not named')}, not BPE")
    for key in ("normalizer", "truncation", "padding"):
        if file.get(key) is not None:
            raise _Unknown(f"it has a {key}")
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise _Unknown(f"its model has {key}")
    own = [token["content"] for token in file.get("added_tokens") or [] if not token["special"]]
    if own:
        raise _Unknown(f"the added token {own[0]!r} is not special, so it is looked for in every text")


def _pre_tokenization(tokenizer: Tokenizer) -> tuple[PreTokenization, Alphabet]:
    """The settings whose pre-tokenizer is that of the tokenizer, word for word."""
    given = _state(tokenizer.pre_tokenizer)
    fields = PreTokenization.model_fields
    for alphabet in get_args(Alphabet):
        for values in itertools.product(*(_values(about.annotation) for about in fields.values())):
            settings = PreTokenization(**dict(zip(fields, values, strict=True)))
            if _state(pre_tokenizer_of(settings, alphabet)) == given:
                return settings, alphabet
    raise _Unknown("its pre-tokenizer is none of those that a recipe can ask for")


def _values(annotation: Any) -> tuple[Any, ...]:
    """All values of a `Literal`, or of one with None."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(value for part in get_args(annotation) for value in (_values(part) or (None,)))


def _state(pre_tokenizer: Any) -> Any:
    """A pre-tokenizer as the library writes it, without what only concerns offsets."""
    state = json.loads(pre_tokenizer.__getstate__()) if pre_tokenizer is not None else None
    for step in [state, *(state or {}).get("pretokenizers", [])]:
        (step or {}).pop("trim_offsets", None)
    return state


def _characters(vocabulary: dict[str, int]) -> np.ndarray:
    """uint32 [1114112]: the token of each code point, or `SPELLED`."""
    characters: np.ndarray = np.full(sys.maxunicode + 1, SPELLED, np.uint32)
    for token, index in vocabulary.items():
        if len(token) == 1:
            characters[ord(token)] = index
    return characters


def _pairs(merges: list[Any], vocabulary: dict[str, int]) -> tuple[np.ndarray, np.uint64]:
    """The table of merges and its shift, see `bpe_merging.fill_pairs`. Older files write a merge as one string."""
    if merges and isinstance(merges[0], str):
        merges = [merge.split(" ") for merge in merges if not merge.startswith("#version")]
    triples = np.array(
        [(vocabulary[left], vocabulary[right], vocabulary[left + right]) for left, right in merges], np.int32
    ).reshape(-1, 3)
    # A quarter full: most pairs that are looked for are not there, and are so found missing at the first look.
    bits = slots_for(2 * max(1, len(triples))).bit_length() - 1
    pairs, shift = np.full(2 << bits, ABSENT, np.uint64), np.uint64(64 - bits)
    left, right, results = (np.ascontiguousarray(column) for column in triples.T)
    fill_pairs(left, right, results, pairs, shift)
    return pairs, shift


def _words(vocabulary: dict[str, int], alphabet: Alphabet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A table of whole pieces that are tokens, see `bpe_encoding.fill_words`; empty for an empty vocabulary."""
    byte_of = {character: value for value, character in enumerate(byte_characters())}
    texts = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for token, index in vocabulary.items():
        if alphabet == "characters":
            texts[index] = token.encode()
        elif all(character in byte_of for character in token):
            texts[index] = bytes(byte_of[character] for character in token)
    content = np.frombuffer(b"".join(texts), np.uint8)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    offsets.flags.writeable = False
    words = np.full(slots_for(len(texts)) if texts else 0, -1, np.int32)
    if texts:
        fill_words(words, content, offsets)
    return words, content, offsets
