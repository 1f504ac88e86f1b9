"""Builds a finished stage directory from a few documents, as the engine would have left it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.shard import (
    DOCUMENT_SCHEMA,
    DROPPED_SCHEMA,
    FORMAT_VERSION,
    MANIFEST,
    ArrowWriter,
    StageDirectory,
    documents_table,
    fingerprint,
    shard_name,
    write_dataset_files,
    write_dropped,
)


def document(text: str, number: int, **fields: Any) -> dict[str, Any]:
    """One document with an id and a source."""
    return {"id": f"test/{number}", "text": text, "source": "test", "language": "en", **fields}


def write_corpus(
    directory: Path | str,
    shards: Sequence[Sequence[dict[str, Any]]],
    dropped: Sequence[Sequence[dict[str, Any]]] | None = None,
) -> StageDirectory:
    """Write one shard file for each list of documents, its drop log, and the manifest.

    A document needs `text`; `id`, `source` and `language` are filled in where absent.
    """
    url = str(directory)
    entries = []
    number = 0
    for index, documents in enumerate(shards):
        rows = []
        for fields in documents:
            rows.append({**document(fields["text"], number), **fields})
            number += 1
        name = shard_name(index)
        with storage.write_atomically(storage.join(url, f"{name}.arrow")) as file:
            writer = ArrowWriter(file, DOCUMENT_SCHEMA)
            for start in range(0, len(rows), 8):
                writer.write(documents_table(rows[start : start + 8]))
            sha256, size = writer.close()
        with storage.write_atomically(storage.join(url, "dropped", f"{name}.parquet")) as file:
            log = [pa.Table.from_pylist(list(dropped[index]), schema=DROPPED_SCHEMA)] if dropped else []
            write_dropped(file, log)
        text_bytes = sum(len(row["text"].encode()) for row in rows)
        entries.append(
            {"name": name, "rows": len(rows), "text_bytes": text_bytes, "file_bytes": size, "sha256": sha256}
        )
    content = fingerprint([entry["sha256"] for entry in entries])
    write_dataset_files(url, DOCUMENT_SCHEMA, [f"{entry['name']}.arrow" for entry in entries], content)
    storage.write_json(
        storage.join(url, MANIFEST),
        {"format_version": FORMAT_VERSION, "stages": [], "fingerprint": content, "shards": entries},
    )
    return StageDirectory(url)


def write_texts(directory: Path | str, shards: Sequence[Sequence[str]]) -> StageDirectory:
    """Like `write_corpus`, for documents of which only the text matters."""
    return write_corpus(directory, [[{"text": text} for text in texts] for texts in shards])
