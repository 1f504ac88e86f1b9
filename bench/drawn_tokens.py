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


def write_drawn_tokens(
    directory: Path,
    vocab_size: int,
    context_length: int,
    rows: dict[str, int],
    rows_per_shard: int = 1 << 30,
    documents_per_row: int = 1,
) -> Path:
    """Write splits of so many rows, token ids as frequent as words are (Zipf); returns the tokenizer's path.

    The documents of a row are of equal length. The tokenizer is a file that only stands for one.
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
            split: _write_split(
                directory, split, count, vocab_size, context_length, rows_per_shard, documents_per_row, random
            )
            for split, count in rows.items()
        },
    }
    storage.write_json(str(directory / "tokens.json"), manifest)
    return tokenizer


def _write_split(
    directory: Path,
    split: str,
    rows: int,
    vocab_size: int,
    context_length: int,
    rows_per_shard: int,
    documents_per_row: int,
    random: np.random.Generator,
) -> dict[str, Any]:
    counts = [min(rows_per_shard, rows - first) for first in range(0, rows, rows_per_shard)]
    files = [f"{split}/shard-{number:05d}.arrow" for number in range(len(counts))]
    listed = []
    for file, count in zip(files, counts, strict=True):
        _write_shard(directory / file, count, vocab_size, context_length, documents_per_row, random)
        listed.append({"file": file, "rows": count, "sha256": storage.sha256_of(str(directory / file))})
    targets = rows * context_length
    return {"rows": rows, "target_tokens": targets, "padding_tokens": 0, "text_bytes": 4 * targets, "shards": listed}


def _write_shard(
    path: Path, rows: int, vocab_size: int, context_length: int, documents_per_row: int, random: np.random.Generator
) -> None:
    schema = row_schema(context_length, token_type(vocab_size))
    drawn = np.minimum(random.zipf(1.2, rows * (context_length + 1)) - 1, vocab_size - 1)
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(drawn.astype(token_type(vocab_size))), type=schema.field(0).type
    )
    bounds = pa.array(np.arange(rows + 1, dtype=np.int32) * documents_per_row)
    row_ends = np.arange(1, documents_per_row + 1) * context_length // documents_per_row
    ends = pa.ListArray.from_arrays(bounds, pa.array(np.tile(row_ends.astype(np.uint32), rows)))
    sources = pa.ListArray.from_arrays(bounds, pa.array(np.zeros(rows * documents_per_row, np.uint16)))
    with storage.write_atomically(str(path)) as sink, pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.table([column, ends, sources], schema=schema))
