"""The number to beat: bits per byte of `gzip -9` on the text that the model is validated on."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np

from pipeline.shard import read_batches
from pipeline.tokens.format import COLUMN, ENDS

MAXIMUM_BYTES = 64 << 20
GZIP_FORMAT = 31
"""zlib's largest window with gzip's header and checksum."""


def gzip_bits_per_byte(shards: Iterable[str], table: list[bytes]) -> tuple[float, int]:
    """Bits that `gzip -9` needs for a byte of the target tokens' text, and the bytes measured (64 MiB at most).

    The text is that of all rows in order, documents directly behind each other: unlike the model, gzip is not
    charged for saying where a document ends. `table` holds the bytes of each token, by id.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, GZIP_FORMAT)
    measured = compressed = 0
    for text in _texts(shards, table):
        piece = text[: MAXIMUM_BYTES - measured]
        measured += len(piece)
        compressed += len(compressor.compress(piece))
        if measured == MAXIMUM_BYTES:
            break
    compressed += len(compressor.flush())
    return (8 * compressed / measured if measured else 0.0), measured


def _texts(shards: Iterable[str], table: list[bytes]) -> Iterable[bytes]:
    for shard in shards:
        for batch in read_batches(shard):
            rows = batch[COLUMN].combine_chunks()
            targets = rows.flatten().to_numpy().reshape(len(rows), -1)[:, 1:]
            lists = batch[ENDS].combine_chunks()
            used = lists.values.to_numpy()[lists.offsets.to_numpy()[1:] - 1]
            for row, end in zip(targets, used.tolist(), strict=True):
                yield b"".join(table[index] for index in np.asarray(row[:end]).tolist())
