"""The number to beat: bits per byte of `gzip -9` on the text that the model is validated on."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np

from pipeline.shard import read_batches

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
            column = batch.column(0).combine_chunks()
            rows = column.flatten().to_numpy().reshape(batch.num_rows, column.type.list_size)
            yield b"".join(table[index] for index in np.ravel(rows[:, 1:]).tolist())
