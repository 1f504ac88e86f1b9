"""Opens the vocabularies that a run's tokenizer is compared with: `tokenizer.json` or OpenAI's `.tiktoken` files.

A `.tiktoken` file lists byte strings and their ranks, without the pre-tokenization. It is made a `tokenizer.json` that
encodes alike: tiktoken joins the neighbours whose joined text has the lowest rank, so each way to cut a token into two
tokens becomes a merge, in the order of ranks; and a piece that is a token as a whole is that token (`ignore_merges`).

Cost: a second for 100,000 tokens.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping

from pipeline import storage
from pipeline.errors import UserError
from pipeline.tokenizer.load import byte_characters, tokenizer_from_bytes
from pipeline.tokenizer.pieces import pre_tokenizer_of
from pipeline.tokenizer.settings import PreTokenization

_MOST_OF_GPT2, _MOST_OF_GPT4 = 60_000, 120_000
"""Ranks in the largest file with each pre-tokenization: r50k_base and p50k_base have 50,000, cl100k_base 100,000."""


def digests(compare: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of each file to compare with, by name: a report depends on them.

    Raises:
        UserError: a file is missing; names it.
    """
    for name, path in compare.items():
        if not storage.exists(path):
            raise UserError(f"tokenizer.compare.{name}: {path} is not there: give a tokenizer.json or a .tiktoken file")
    return {name: storage.sha256_of(path) for name, path in compare.items()}


def opened(name: str, path: str, directory: str) -> tuple[str, str]:
    """The `tokenizer.json` of a vocabulary and its sha256; one made from a `.tiktoken` file is put into the directory.

    Raises:
        UserError: the file is missing, is neither, or its pre-tokenization is not known.
    """
    digests({name: path})
    content = storage.read_bytes(path)
    if path.endswith(".tiktoken"):
        content = _converted(name, path, content)
        path = storage.join(directory, f"{name}.json")
        with storage.write_atomically(path) as file:
            file.write(content)
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        tokenizer_from_bytes(content, path, sha256)
    except UserError as fault:
        raise UserError(f"tokenizer.compare.{name}: {path} is no tokenizer.json: {fault.__cause__}") from fault
    return storage.absolute(path), sha256


def _converted(name: str, path: str, content: bytes) -> bytes:
    """A `.tiktoken` file as a `tokenizer.json`."""
    from tokenizers import Tokenizer, decoders, models

    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines(), 1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as fault:
            raise UserError(
                f"tokenizer.compare.{name}: line {number} of {path} is no token in base64 and its rank"
            ) from fault
    if len(ranks) > _MOST_OF_GPT4:
        raise UserError(
            f"tokenizer.compare.{name}: {path} has {len(ranks):,} tokens, and how a .tiktoken file of more than "
            f"{_MOST_OF_GPT4:,} cuts texts into pieces is not known: give its tokenizer.json"
        )
    characters = dict(enumerate(byte_characters()))
    written = {token: token.decode("latin-1").translate(characters) for token in ranks}
    merges = [
        (written[token[:cut]], written[token[cut:]])
        for token in sorted(ranks, key=ranks.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    ]
    vocabulary = {written[token]: rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    kind = PreTokenization(kind="gpt2" if len(ranks) <= _MOST_OF_GPT2 else "gpt4")
    tokenizer.pre_tokenizer = pre_tokenizer_of(kind)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer.to_str().encode()
