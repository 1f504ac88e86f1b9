"""Tokens to text while they come: a piece never ends inside a character.

A token is a string of bytes and may hold a part of a UTF-8 character: each character of a byte-level token stands for a
byte, and in a vocabulary of characters `<0xE4>` does. Decoding each token by itself would show U+FFFD for every emoji,
decoding everything again for each token costs the square of the length; here the bytes go through an incremental
decoder, which keeps an unfinished character until its rest arrives.
"""

import codecs
import json
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer


_BYTE_TOKEN = re.compile("<0x([0-9A-Fa-f]{2})>")


class TextStream:
    """Turns token ids into text, one after the other; special tokens have no text."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        decoder = tokenizer.decoder
        kinds = json.loads(decoder.__getstate__()).get("decoders", []) if decoder is not None else []
        self._bytes_of = _bytes_of_characters if {"type": "ByteFallback"} in kinds else _bytes_of
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that is complete now; often the token's own, sometimes nothing yet."""
        if token in self._special:
            return ""
        piece = self._tokenizer.id_to_token(token) or ""  # ids beyond the vocabulary pad the model's matrix
        return self._decoder.decode(self._bytes_of(piece))

    def finish(self) -> str:
        """The rest: U+FFFD when the tokens ended inside a character."""
        return self._decoder.decode(b"", final=True)


def _bytes_of(piece: str) -> bytes:
    table = _byte_alphabet()
    return b"".join(bytes([table[character]]) if character in table else character.encode() for character in piece)


def _bytes_of_characters(piece: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.encode()


@cache
def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2's choice).

    Printable Latin-1 stands for itself; the others follow from code point 256 on.
    """
    itself = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in itself]
    return {chr(byte): byte for byte in itself} | {chr(256 + place): byte for place, byte in enumerate(others)}
