"""A token dataset for measuring speed: drawn tokens, since no speed depends on what they say."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.shard import fingerprint
from pipeline.tokens.format import FORMAT_VERSION, row_schema, token_type

SEED = 1


def write_drawn_tokens(directory: Path, vocab_size: int, context_length: int, rows: dict[str, int]) -> Path:
    """Write splits of so many rows, token ids as frequent as words are (Zipf); returns the tokenizer's path.

    The tokenizer is a file that only stands for one.
    """
    directory.mkdir(parents=True)
    tokenizer = directory / "tokenizer.json"
    tokenizer.write_text("{}\n")
    random = np.random.default_rng(SEED)
    manifest = {
        "format_version": FORMAT_VERSION,
        "context_length": context_length,
        "dtype": token_type(vocab_size).name,
        "vocab_size": vocab_size,
        "tokenizer_fingerprint": hashlib.sha256(tokenizer.read_bytes()).hexdigest(),
        "fingerprint": fingerprint("drawn", SEED, vocab_size, context_length, rows),
        "end_of_text_id": 0,
        "padding_id": 0,
        "packing": "split",
        "sources": ["drawn"],
        "splits": {
            split: _write_split(directory, split, count, vocab_size, context_length, random)
            for split, count in rows.items()
        },
    }
    storage.write_json(str(directory / "tokens.json"), manifest)
    return tokenizer


def _write_split(
    directory: Path, split: str, rows: int, vocab_size: int, context_length: int, random: np.random.Generator
) -> dict[str, Any]:
    file = f"{split}/shard-00000.arrow"
    schema = row_schema(context_length, token_type(vocab_size))
    drawn = np.minimum(random.zipf(1.2, rows * (context_length + 1)) - 1, vocab_size - 1)
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(drawn.astype(token_type(vocab_size))), type=schema.field(0).type
    )
    bounds = pa.array(np.arange(rows + 1, dtype=np.int32))
    ends = pa.ListArray.from_arrays(bounds, pa.array(np.full(rows, context_length, np.uint32)))
    sources = pa.ListArray.from_arrays(bounds, pa.array(np.zeros(rows, np.uint16)))
    with storage.write_atomically(str(directory / file)) as sink, pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.table([column, ends, sources], schema=schema))
    targets = rows * context_length
    listed = {"file": file, "rows": rows, "sha256": storage.sha256_of(str(directory / file))}
    return {"rows": rows, "target_tokens": targets, "padding_tokens": 0, "text_bytes": 4 * targets, "shards": [listed]}
