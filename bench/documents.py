"""The documents that a benchmark reads, as JSON Lines in gzip files of equal share, made once and kept in `.bench/`.

Without data of one's own they come from the documentation of Python and of the packages installed here: real prose,
code and tables, the same on every machine with the same packages.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from bench.harness import CACHE
from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import fingerprint
from pipeline.sources import files
from pipeline.sources.jsonl import ENDINGS, JsonLines
from pipeline.sources.python_docs import PythonDocs
from pipeline.sources.source import Quarantine, Slice, Source

SHARDS = 16
PYTHON_FILES = 4000
"""Source files whose documentation is read: 13 MB of text."""


@dataclass(frozen=True)
class Documents:
    """Documents in a folder of JSON Lines files."""

    folder: Path
    count: int
    text_bytes: int
    """UTF-8 bytes of their text."""


def python_documents() -> Documents:
    """Documentation of what is installed here, one document an object."""
    source = PythonDocs(max_files=PYTHON_FILES)
    parts = source.plan()
    name = fingerprint("python", source.version, [part.stamp for part in parts], SHARDS)
    return _kept(name, lambda: _read_side_by_side(source, parts))


def given_documents(path: str) -> Documents:
    """Documents of a file or folder: JSON Lines, a JSON list, or text files, each plain, .gz or .zst.

    Raises:
        UserError: nothing is there, or it is of none of these forms.
    """
    endings = (*ENDINGS, ".json", ".txt", ".txt.gz", ".txt.zst")
    found = [file for file in files.expand(path, endings) if ".labels." not in file]
    name = fingerprint("given", [(file, storage.stamp_of(file)) for file in found], SHARDS)
    return _kept(name, lambda: chain.from_iterable(map(_read_file, found)))


def _read_side_by_side(source: Source, parts: list[Slice]) -> Iterator[dict[str, Any]]:
    with ProcessPoolExecutor() as pool:
        for documents in pool.map(_read_slice, [source] * len(parts), parts):
            yield from documents


def _read_slice(source: Source, part: Slice) -> list[dict[str, Any]]:
    tables = source.read(part, Quarantine())
    return [row for table in tables for row in table.select(["id", "text"]).to_pylist()]


def _read_file(file: str) -> Iterator[dict[str, Any]]:
    name = storage.name_of(file)
    if ".txt" in name:
        with files.open_decompressed(file) as stream:
            yield {"id": name, "text": files.read_all(stream).decode("utf-8", "replace")}
    elif ".json." in f"{name}." and ".jsonl" not in name:
        with files.open_decompressed(file) as stream:
            records = orjson.loads(files.read_all(stream))
        for number, record in enumerate(records):
            if not isinstance(record, dict) or "text" not in record:
                raise UserError(f"{file}: record {number} has no `text`: give documents as {{id, text}}")
            yield {"id": str(record.get("id", f"{name}@{number}")), "text": record["text"]}
    else:
        source = JsonLines(path=file)
        for part in source.plan():
            yield from _read_slice(source, part)


def _kept(name: str, read: Any) -> Documents:
    """The folder of that name, filled by dealing the documents out in turn when it is not there."""
    folder = CACHE / "documents" / name[:16]
    about = folder / "about.json"
    if not about.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        storage.write_json(str(about), _deal(folder, read()))
    return Documents(folder, **storage.read_json(str(about)))


def _deal(folder: Path, documents: Iterable[dict[str, Any]]) -> dict[str, int]:
    count = text_bytes = 0
    shards = [gzip.GzipFile(folder / f"part-{index:02d}.jsonl.gz", "wb", 1, mtime=0) for index in range(SHARDS)]
    for document in documents:
        shards[count % SHARDS].write(json.dumps(document, ensure_ascii=False).encode() + b"\n")
        count += 1
        text_bytes += len(document["text"].encode())
    for shard in shards:
        shard.close()
    return {"count": count, "text_bytes": text_bytes}
