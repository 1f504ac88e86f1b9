"""A small token dataset in the pipeline's format, written independently of the pipeline."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

CONTEXT = 16
VOCAB = 61


def write_token_dataset(
    directory: Path,
    *,
    shards: tuple[int, ...] = (40, 24),
    validation_rows: int = 10,
    dtype: str = "uint16",
    ends: tuple[tuple[int, ...], ...] = ((CONTEXT,),),
    seed: int = 7,
    **fields: Any,
) -> tuple[Path, Path]:
    """Rows of a predictable language: each token is nearly always the one before it, times 3, plus 1.

    `ends` are the document ends of the rows in turn, `fields` replace those of the manifest. Returns the dataset's
    directory and the tokenizer's path.
    """
    tokenizer = directory / "tokenizer.json"
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.write_text('{"model": "of a test"}')
    tokens = directory / "tokens"
    random = np.random.default_rng(seed)
    splits = {
        "train": _write_split(tokens, "train", shards, dtype, ends, random),
        "validation": _write_split(tokens, "validation", (validation_rows,), dtype, ends, random),
    }
    manifest = {
        "format_version": 2,
        "context_length": CONTEXT,
        "dtype": dtype,
        "vocab_size": VOCAB,
        "tokenizer_fingerprint": hashlib.sha256(tokenizer.read_bytes()).hexdigest(),
        "fingerprint": "data-1",
        "end_of_text_id": 0,
        "splits": splits,
        **fields,
    }
    (tokens / "tokens.json").write_text(json.dumps(manifest))
    return tokens, tokenizer


def _write_split(
    tokens: Path,
    name: str,
    shards: tuple[int, ...],
    dtype: str,
    ends: tuple[tuple[int, ...], ...],
    random: np.random.Generator,
) -> dict[str, Any]:
    (tokens / name).mkdir(parents=True, exist_ok=True)
    stream = [1]
    while len(stream) < sum(shards) * CONTEXT + 1:
        stream.append(int(random.integers(VOCAB)) if random.random() < 0.2 else (stream[-1] * 3 + 1) % VOCAB)
    start, listed = 0, []
    for index, rows in enumerate(shards):
        cut = [stream[(start + row) * CONTEXT :][: CONTEXT + 1] for row in range(rows)]
        start += rows
        file = f"{name}/shard-{index:05d}.arrow"
        column = pa.array(cut, type=pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), CONTEXT + 1))
        given = [list(ends[row % len(ends)]) for row in range(start - rows, start)]
        lists = pa.array(given, type=pa.list_(pa.uint32()))
        sources = pa.array([[place % 2 for place, _ in enumerate(row)] for row in given], type=pa.list_(pa.uint16()))
        table = pa.table({"input_ids": column, "document_ends": lists, "document_sources": sources})
        with pa.OSFile(str(tokens / file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=17)
        digest = hashlib.sha256((tokens / file).read_bytes()).hexdigest()
        listed.append({"file": file, "rows": rows, "sha256": digest})
    targets = sum(ends[row % len(ends)][-1] for row in range(sum(shards)))
    return {
        "rows": sum(shards),
        "target_tokens": targets,
        "padding_tokens": sum(shards) * CONTEXT - targets,
        "text_bytes": 2 * targets,
        "shards": listed,
    }
