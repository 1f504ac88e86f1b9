"""Opens a trained tokenizer and tells how many bytes of text each token stands for.

A tokenizer must be opened here, not with `Tokenizer.from_file`: that a special token written in a text is encoded as
plain text is no part of `tokenizer.json`, it must be switched on in each process. Otherwise a web page could end a
document or speak as the assistant.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache

import numpy as np
from tokenizers import Tokenizer

from pipeline import storage
from pipeline.errors import UserError
from pipeline.tokenizer.settings import Alphabet

TOKENIZER_FILE = "tokenizer.json"
MANIFEST = "manifest.json"
REPORT_FILE = "tokenizer_report.json"

BYTE_TOKENS = tuple(f"<0x{value:02X}>" for value in range(256))
"""The tokens that spell a character outside the alphabet of characters, byte by byte."""
_CHARACTERS = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
"""The decoder of a tokenizer on characters."""
_BYTE_TOKEN = re.compile("<0x([0-9A-Fa-f]{2})>")


def load_tokenizer(url: str, sha256: str | None = None) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`; special tokens in texts are encoded as plain text.

    Raises:
        UserError: the file is missing, is no tokenizer, or not the one with the expected sha256.
    """
    if not storage.exists(url):
        raise UserError(f"{url} does not exist: run the step that writes it again")
    return tokenizer_from_bytes(storage.read_bytes(url), url, sha256)


def tokenizer_from_bytes(content: bytes, url: str, sha256: str | None) -> Tokenizer:
    """See `load_tokenizer`; `url` is for messages."""
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise UserError(
            f"{url} was changed (sha256 {found[:12]}, expected {sha256[:12]}): remove its folder and run the same "
            "command again to train it anew"
        )
    try:
        tokenizer = Tokenizer.from_str(content.decode("utf-8"))
    except Exception as fault:  # the library raises plain Exception
        raise UserError(f"{url} is no tokenizer ({fault}): remove its folder and run the same command again") from fault
    tokenizer.encode_special_tokens = True
    return tokenizer


@lru_cache(maxsize=1)
def tokenizer_of_worker(url: str, sha256: str) -> Tokenizer:
    """`load_tokenizer`, once a worker process."""
    return load_tokenizer(url, sha256)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep the library from starting a thread for each core: the engine already runs a process for each."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def alphabet_of(tokenizer: Tokenizer) -> Alphabet:
    """What the tokens are made of. `characters` when the tokenizer decodes `<0x0A>` to a byte and does nothing else."""
    decoder = tokenizer.decoder
    return "characters" if decoder is not None and json.loads(decoder.__getstate__()) == _CHARACTERS else "bytes"


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of text that each token stands for, by id; special tokens stand for none, nor do ids that are left out.

    The text of an encoded document is exactly the concatenation of its tokens' bytes.

    Raises:
        KeyError: the tokenizer is neither on bytes nor on characters: the character that stands for no byte.
    """
    # An added token is found in the text itself, so it is written as text, not in the alphabet of the vocabulary.
    added = {
        index: b"" if token.special else token.content.encode()
        for index, token in tokenizer.get_added_tokens_decoder().items()
    }
    text_of = _text_of_characters if alphabet_of(tokenizer) == "characters" else _text_of_bytes
    tokens = (tokenizer.id_to_token(index) or "" for index in range(id_bound(tokenizer)))
    return [added[index] if index in added else text_of(token) for index, token in enumerate(tokens)]


def id_bound(tokenizer: Tokenizer) -> int:
    """All token ids are below this: the number of tokens, or more where a vocabulary leaves ids out, as cl100k does."""
    return 1 + max(tokenizer.get_vocab().values(), default=-1)


def _text_of_bytes(token: str) -> bytes:
    values = _byte_values()
    return bytes(values[character] for character in token)


def _text_of_characters(token: str) -> bytes:
    found = _BYTE_TOKEN.fullmatch(token)
    return bytes([int(found[1], 16)]) if found else token.encode()


def token_byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """Bytes of text of each token, by id, as int64[id_bound]."""
    return np.array([len(text) for text in token_bytes(tokenizer)], dtype=np.int64)


def byte_characters() -> list[str]:
    """The character that stands for each byte value in a byte-level vocabulary.

    Radford et al. 2019 (GPT-2): visible Latin-1 characters stand for themselves, the other bytes in ascending order
    for the characters from U+0100 on.
    """
    visible = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    hidden = [value for value in range(256) if value not in visible]
    places = {value: 256 + place for place, value in enumerate(hidden)}
    return [chr(places.get(value, value)) for value in range(256)]


@cache
def _byte_values() -> dict[str, int]:
    return {character: value for value, character in enumerate(byte_characters())}
