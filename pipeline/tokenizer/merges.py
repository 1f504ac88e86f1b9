"""Trains byte-pair merges from counted pieces and makes the tokenizer that `tokenizers` would have trained.

Ids as the library gives them: special tokens, then the alphabet by code point, then merges in the order learned. Two
alphabets: `bytes`, the 256 byte values, each written as the character that stands for it (GPT-2's way); and
`characters`, the most frequent characters of the text, with 256 tokens `<0x00>` to `<0xFF>` before them that spell what
is not among them (Llama's way, `byte_fallback`). The library has no trainer for the second one; ours gives what it
learns when the 256 are passed as special tokens.

What merges depend on is the table of counts, not its order. Cost: see `pipeline.kernels.bpe_training`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import UserError
from pipeline.kernels import bpe_training
from pipeline.tokenizer.counts import Counts
from pipeline.tokenizer.load import BYTE_TOKENS, byte_characters
from pipeline.tokenizer.settings import Alphabet

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.pre_tokenizers import PreTokenizer

KERNELS = ("bpe_training",)
"""Kernel modules that the functions of this file call."""

_CODE_POINTS = 0x110000
_MOST_CELLS = 1 << 31
"""Positions are held in 32 bits."""


@dataclass(frozen=True)
class Merges:
    """A trained vocabulary. Merge m joins the tokens `left[m]` and `right[m]` to `result[m]`; earlier ones go first."""

    left: np.ndarray
    """int32 [merges]: token ids."""
    right: np.ndarray
    """int32 [merges]."""
    result: np.ndarray
    """int32 [merges]: a new token, or a special one with the same text."""
    vocabulary: list[str]
    """Each token by id, as `tokenizer.json` writes it."""
    special_tokens: tuple[str, ...]
    """The first tokens of the vocabulary: no text is encoded as one of them."""
    alphabet: Alphabet


def train_merges(
    counts: Counts,
    vocab_size: int,
    min_frequency: int,
    special_tokens: Sequence[str],
    alphabet: Alphabet = "bytes",
    max_token_length: int | None = None,
    alphabet_limit: int | None = None,
) -> Merges:
    """Learn merges until the vocabulary has `vocab_size` tokens or no pair occurs `min_frequency` times.

    The merges and ids are those of the library's BpeTrainer on the same text and settings (of the pairs that occur
    more than 2,147,483,647 times it loses count; here they count). A pair of single symbols may always be merged;
    beyond that tokens stay shorter than `max_token_length` symbols, as in the library. Of equally frequent characters
    at the `alphabet_limit` those with the smaller code points are kept; the library's choice there is random.
    The vocabulary is larger than `vocab_size` when special tokens and alphabet are.

    Raises:
        UserError: a special token is given twice, or the pieces are too many for this trainer (2 GiB of them).
    """
    repeated = sorted({token for token in special_tokens if special_tokens.count(token) > 1})
    if repeated:
        raise UserError(f"special token {repeated[0]!r} is given twice: name each special token once")
    if alphabet == "bytes":
        code_of = {character: value for value, character in enumerate(byte_characters())}
        letters = sorted(code_of)
        head = [*special_tokens]
    else:
        letters = [chr(code) for code in _frequent_characters(counts, alphabet_limit)]
        code_of = {letter: ord(letter) for letter in letters}
        head = [*special_tokens, *BYTE_TOKENS]
    known = set(head)
    vocabulary = head + [letter for letter in letters if letter not in known]

    tokens = max(vocab_size, len(vocabulary))
    symbols = np.full(256 if alphabet == "bytes" else _CODE_POINTS, bpe_training.GAP, np.int32)
    lengths = np.zeros(tokens, np.int32)
    ids = {token: index for index, token in enumerate(vocabulary)}
    for letter in letters:
        symbols[code_of[letter]] = ids[letter]
        lengths[ids[letter]] = 1
    cells, weights = _laid_out(counts, symbols, alphabet == "characters")

    texts = [_text_of(token, alphabet, code_of) for token in vocabulary]
    merges, text, ends = bpe_training.learn_merges(
        cells,
        weights,
        np.frombuffer(bytearray(b"".join(texts)), np.uint8),
        np.cumsum([0, *map(len, texts)], dtype=np.int64),
        lengths,
        len(head),
        len(vocabulary),
        vocab_size,
        max(min_frequency, 1),
        bpe_training.UNLIMITED if max_token_length is None else max_token_length,
    )
    vocabulary += _written(text.tobytes(), ends[len(vocabulary) :], alphabet)
    left, right, result = (np.ascontiguousarray(merges[:, column]) for column in range(3))
    return Merges(left, right, result, vocabulary, tuple(special_tokens), alphabet)


def tokenizer_of(merges: Merges, pre_tokenizer: PreTokenizer) -> Tokenizer:
    """The library's tokenizer of a vocabulary, what `tokenizer.json` is written from.

    Args:
        merges: The vocabulary.
        pre_tokenizer: What cut the pieces that the merges were learned from; for the alphabet `bytes` it also writes
            bytes as characters (`pipeline.tokenizer.pieces.pre_tokenizer_of`).
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models

    names = merges.vocabulary
    pairs = [
        (names[left], names[right]) for left, right in zip(merges.left.tolist(), merges.right.tolist(), strict=True)
    ]
    characters = merges.alphabet == "characters"
    vocabulary = {token: index for index, token in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, byte_fallback=characters, fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizer
    if characters:
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    else:
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in merges.special_tokens])
    return tokenizer


def _frequent_characters(counts: Counts, limit: int | None) -> list[int]:
    """The most frequent code points, ascending."""
    totals = np.zeros(_CODE_POINTS, np.int64)
    bpe_training.count_characters(counts.data, counts.offsets, counts.counts, totals)
    present = np.flatnonzero(totals)
    ranked = present[np.argsort(-totals[present], kind="stable")]
    return sorted(ranked[:limit].tolist())


def _laid_out(counts: Counts, symbols: np.ndarray, utf8: bool) -> tuple[np.ndarray, np.ndarray]:
    """The counted pieces as `learn_merges` takes them."""
    pieces = (counts.data, counts.offsets, counts.counts, symbols, utf8)
    size, kept = bpe_training.count_cells(*pieces)
    if size >= _MOST_CELLS:
        raise UserError(
            f"the different pieces of the corpus have {size:,} symbols, merges are learned from fewer than "
            f"{_MOST_CELLS:,}: leave out rare pieces or train on a share of the corpus"
        )
    cells, weights = np.empty((size, 2), np.int32), np.empty(kept, np.int64)
    bpe_training.lay_out(*pieces, cells, weights)
    return cells, weights


def _text_of(token: str, alphabet: Alphabet, code_of: dict[str, int]) -> bytes:
    """What a merge would have to read to be this token; nothing when none can."""
    if alphabet == "characters":
        return token.encode()
    return bytes(code_of[character] for character in token) if all(map(code_of.__contains__, token)) else b""


def _written(text: bytes, ends: np.ndarray, alphabet: Alphabet) -> list[str]:
    bounds = zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    if alphabet == "characters":
        return [text[start:end].decode() for start, end in bounds]
    characters = dict(enumerate(byte_characters()))
    return [text[start:end].decode("latin-1").translate(characters) for start, end in bounds]
