"""Compares a sample of every shard that was encoded with what the `tokenizers` library gives, token by token.

The kernels must never encode in another way than the library, which the model's users will have. So beside the tests
each encoding task looks at some of its documents: the first that is not empty, and one in `ONE_IN` of the others, by a
hash of their place in the shard. Of long ones the head is looked at, which is encoded once more by itself.

Cost: about 1 % of the time of encoding a shard of 10 MB or more (of smaller ones 1 ms); the library takes thirty times
as long for the same text.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.kernels.column import TextColumn
from pipeline.tokenizer.encoder import Encoded, Encoder
from pipeline.tokenizer.load import one_thread

ONE_IN = 4096
LONGEST = 1024
"""Bytes that are looked at of one document."""


class EncodingCheck:
    """Looks at a sample of the documents of one shard, batch by batch."""

    def __init__(self, encoder: Encoder, shard: str) -> None:
        """`shard`: its path, for messages."""
        self._encoder, self._shard = encoder, shard
        self._passed = 0
        self.documents = 0
        """Documents that were compared."""

    def look_at(self, column: TextColumn, encoded: Encoded, ids: pa.ChunkedArray) -> None:
        """Compare some documents of the next batch with the library; `ids`: the column of their ids, for messages.

        Raises:
            RuntimeError: names the document and the first token that differs.
        """
        if self._encoder.why_not_compiled is None:
            with one_thread():
                for document in self._chosen(column):
                    self._compare(column, encoded, document, ids[document].as_py())
        self._passed += len(column)

    def _chosen(self, column: TextColumn) -> list[int]:
        places = np.arange(self._passed, self._passed + len(column), dtype=np.uint64)
        mixed = (places + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x9FB21C651E98DF25)
        drawn = mixed < np.uint64((1 << 64) // ONE_IN)
        filled = np.flatnonzero(column.offsets[1:] > column.offsets[:-1])
        if not self.documents and len(filled):
            drawn[filled[0]] = True
        return [int(document) for document in filled[drawn[filled]]]

    def _compare(self, column: TextColumn, encoded: Encoded, document: int, name: str) -> None:
        start, end = (int(bound) for bound in column.offsets[document : document + 2])
        found = encoded.ids[encoded.starts[document] : encoded.starts[document + 1]]
        if end - start > LONGEST:
            end = start + LONGEST
            while column.data[end] & 0xC0 == 0x80:
                end -= 1
            bounds = np.array([start, end], np.int64)
            bounds.flags.writeable = False
            found = self._encoder.encode(TextColumn(column.data, bounds)).ids
        text = column.data[start:end].tobytes().decode("utf-8")
        expected = self._encoder.tokenizer.encode(text, add_special_tokens=False).ids
        self.documents += 1
        if found.tolist() == expected:
            return
        pairs = zip(found.tolist(), expected, strict=False)
        at = next(
            (index for index, (ours, theirs) in enumerate(pairs) if ours != theirs), min(len(found), len(expected))
        )
        ours, theirs = (list(tokens[at : at + 3]) for tokens in (found.tolist(), expected))
        raise RuntimeError(
            f"{self._shard}: document {name} is encoded otherwise than by the tokenizers library, from token {at} on "
            f"({ours} instead of {theirs}): a fault of gptmill, please report it with the tokenizer and the text"
        )
