"""The files of a token dataset, format version 2: names, types, manifest.

    train/shard-00000-000.arrow    rows: bucket and number of the file; `-rest` holds what the buckets left over
    validation/shard-*.arrow
    tokenizer.json                 a copy of the tokenizer that made the tokens
    dataset_dict.json              and the like: `datasets.load_from_disk` opens the whole or one split
    encoded/, leftovers/           tokens of whole documents, and what the buckets left over: for resuming
    tokens.json                    manifest, written last; a directory without it is not read

A row is `input_ids`, context_length + 1 token ids, and two lists of equal length: document k of a row owns the target
positions [document_ends[k - 1] or 0, document_ends[k]) and comes from `sources[document_sources[k]]` of the manifest.
The input at position i predicts the token at i + 1, so the input at a document's first position is its context: the
end-of-text token, or, where a document was cut and goes on at the beginning of a row, the token before the cut. From
the last end to context_length there is padding. Each token of a text and each document's closing end-of-text token is
the target of exactly one prediction, but for `lost_tokens` of them, fewer than a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.shard import read_manifest

FORMAT_VERSION = 2
CODE_VERSION = 2
"""Raised with every change of this package that changes rows or manifest."""
MANIFEST = "tokens.json"
TOKENIZER_COPY = "tokenizer.json"
TRAIN = "train"
VALIDATION = "validation"
SPLITS = (TRAIN, VALIDATION)
ENCODED = "encoded"
LEFTOVERS = "leftovers"
COLUMN = "input_ids"
ENDS = "document_ends"
SOURCES = "document_sources"
MAXIMUM_SOURCES = 1 << 16
REST = "shard-rest"
"""Beginning of the names of the last shards of a split: what the buckets left over."""


def token_type(vocab_size: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds every token id: uint16 or uint32, little-endian."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


def row_schema(context_length: int, dtype: np.dtype[Any]) -> pa.Schema:
    """The schema of a token shard, for rows of `context_length + 1` token ids."""
    return pa.schema(
        [
            pa.field(COLUMN, pa.list_(pa.from_numpy_dtype(dtype), context_length + 1)),
            pa.field(ENDS, pa.list_(pa.uint32())),
            pa.field(SOURCES, pa.list_(pa.uint16())),
        ]
    )


@dataclass(frozen=True)
class TokenizerFile:
    """The tokenizer behind the tokens, as tasks need it."""

    url: str
    """Its `tokenizer.json`."""
    sha256: str
    """Of that file."""
    vocab_size: int
    """Token ids are below this."""
    special_tokens: dict[str, int]
    """Special tokens and their ids."""
    end_of_text: int
    """Closes every document."""
    padding: int
    """Fills rows behind their last document; end-of-text where the tokenizer has no token for it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the token ids."""
        return token_type(self.vocab_size)


def read_tokens_manifest(directory: str) -> dict[str, Any]:
    """The content of `tokens.json`.

    Raises:
        UserError: the token dataset is unfinished or of another format version.
    """
    return read_manifest(storage.join(directory, MANIFEST), FORMAT_VERSION, "tokens")


def describe(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a table: documents, tokens, bytes, share of the split's tokens and tokens per byte by split and source.

    Tokens count the end-of-text of each document, and the few that did not fill the last row.
    """
    table = []
    for split in SPLITS:
        sources = manifest["splits"][split]["sources"]
        total = sum(entry["tokens"] for entry in sources.values())
        table += [
            {
                "split": split,
                "source": source,
                **entry,
                "share": entry["tokens"] / total,
                "tokens_per_byte": entry["tokens"] / max(1, entry["text_bytes"]),
            }
            for source, entry in sorted(sources.items())
        ]
    return table
