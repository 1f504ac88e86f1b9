"""Documents, shard files and manifests: what the steps of the pipeline hand to each other.

A shard is one Arrow IPC stream file. A stage directory holds the shards of one pass over the corpus, what was
dropped and why, a record for each shard, and last of all the manifest:

    shard-00042.arrow              the documents that were kept
    dropped/shard-00042.parquet    one row for each dropped document: stage, rule, value, threshold, excerpt
    quarantine/shard-00042.jsonl   records that could not be read, with file, line and reason
    shard-00042.json               record: fingerprint, counts, bytes, sha256, seconds
    dataset_info.json, state.json  make the directory a Hugging Face dataset
    stage.json                     manifest, written last; a directory without it is not read

Everything but the `seconds` of the records depends on input and recipe alone, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as parquet

from pipeline import storage
from pipeline.arrays import empty_table
from pipeline.errors import UserError

if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
    # Arrow's own pool keeps what is freed: texts of ever other lengths, 10 MB at a time, made it hold 70 MB.
    pa.set_memory_pool(pa.system_memory_pool())

FORMAT_VERSION = 1
MANIFEST = "stage.json"

DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("language", pa.string()),
        pa.field("metadata", pa.string()),
    ]
)
"""`metadata` is a JSON object as text; stages may add columns, named after themselves."""

DROPPED_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.string()),
        pa.field("threshold", pa.string()),
        pa.field("kept_id", pa.string()),
        pa.field("similarity", pa.float64()),
        pa.field("text_bytes", pa.int64(), nullable=False),
        pa.field("excerpt", pa.string(), nullable=False),
    ]
)
"""`value` and `threshold` are text, because some are numbers and some are labels (a language, a domain)."""


def fingerprint(*parts: Any) -> str:
    """SHA-256 of the parts as canonical JSON; equal parts give equal fingerprints on every machine."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def shard_name(index: int) -> str:
    """The name of a shard without its ending: `shard-00042`."""
    return f"shard-{index:05d}"


def documents_table(documents: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows of documents as a table; absent optional fields are null."""
    # Column by column: half the cost of Table.from_pylist, which looks at each row as a struct.
    columns = [pa.array([row.get(field.name) for row in documents], field.type) for field in DOCUMENT_SCHEMA]
    return pa.Table.from_arrays(columns, schema=DOCUMENT_SCHEMA)


class HashingFile:
    """Passes written bytes on and hashes them, so that a file need not be read again for its sha256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Write all of a buffer; returns its bytes."""
        view = memoryview(data)
        self._digest.update(view)
        self._file.write(view)
        self.size += view.nbytes
        return view.nbytes

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def sha256(self) -> str:
        """Of all that was written."""
        return self._digest.hexdigest()


class ArrowWriter:
    """Writes record batches to an Arrow IPC stream inside an open (atomic) file, hashing as it goes."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._sink = HashingFile(file)
        self._stream = pa.ipc.new_stream(self._sink, schema)
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Append the rows of a table of the writer's schema."""
        if table.num_rows:
            self._stream.write_table(table.combine_chunks())
            self.rows += table.num_rows

    def close(self) -> tuple[str, int]:
        """End the stream and return the sha256 and size in bytes of what was written."""
        self._stream.close()
        return self._sink.sha256(), self._sink.size


def write_dropped(file: IO[bytes], tables: Sequence[pa.Table]) -> None:
    """Write the drop log of one shard as Parquet."""
    table = pa.concat_tables(tables) if tables else empty_table(DROPPED_SCHEMA)
    parquet.write_table(table, file, compression="zstd")


def open_table(url: str) -> pa.Table:
    """All rows of an Arrow IPC stream file; memory-mapped on local disk, so only touched pages are loaded.

    Raises:
        UserError: the file is truncated or is no Arrow stream.
    """
    with _damage_explained(url):
        if storage.is_local(url):
            return pa.ipc.open_stream(pa.memory_map(str(storage.local_path(url)))).read_all()
        return pa.ipc.open_stream(pa.py_buffer(storage.read_bytes(url))).read_all()


def schema_of(url: str) -> pa.Schema:
    """The schema of an Arrow IPC stream file, of which only the beginning is read.

    Raises:
        UserError: the file is missing, or is no Arrow stream.
    """
    if not storage.exists(url):
        raise UserError(f"{url} is missing, though its step was finished: run that step again")
    with _damage_explained(url), storage.open_binary(url) as file, pa.ipc.open_stream(file) as stream:
        return stream.schema


def read_batches(url: str) -> Iterator[pa.Table]:
    """The record batches of an Arrow IPC stream file, one at a time."""
    with _damage_explained(url), storage.open_binary(url) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield pa.Table.from_batches([batch])


@contextmanager
def _damage_explained(url: str) -> Iterator[None]:
    """Name the file that cannot be decoded.

    Of a file that ends within a batch pyarrow says `OSError` without a number; with one it is the system's and may
    pass when tried again.
    """
    try:
        yield
    except (pa.ArrowInvalid, OSError) as fault:
        if isinstance(fault, OSError) and fault.errno is not None:
            raise
        raise UserError(
            f"{url} is damaged or is no Arrow stream ({fault}): remove it and run the same command again"
        ) from fault


def read_manifest(path: str, format_version: int, step: str) -> dict[str, Any]:
    """The manifest of a finished step.

    Raises:
        UserError: the step is not finished, or its files are of another format version.
    """
    if not storage.exists(path):
        folder, _, name = path.rpartition("/")
        raise UserError(f"{folder} has no {name}: the {step} step is not finished; run it first")
    manifest: dict[str, Any] = storage.read_json(path)
    if manifest.get("format_version") != format_version:
        raise UserError(
            f"{path} has format version {manifest.get('format_version')}, this gptmill reads {format_version}: "
            f"remove the folder and run the {step} step again"
        )
    return manifest


def finished_manifest(path: str, format_version: int, wanted: str) -> dict[str, Any] | None:
    """The manifest of a step that was finished with the wanted fingerprint, or None when the step must run.

    Whether the files that it lists are still there is for the caller to see.
    """
    if not storage.exists(path):
        return None
    manifest: dict[str, Any] = storage.read_json(path)
    found = (manifest.get("format_version"), manifest.get("fingerprint"))
    return manifest if found == (format_version, wanted) else None


@dataclass(frozen=True)
class Shard:
    """One finished shard as the manifest lists it."""

    name: str
    rows: int
    """Documents in the shard."""
    text_bytes: int
    """UTF-8 bytes of the documents' text."""
    file_bytes: int
    """Size of the Arrow file."""
    sha256: str
    """Of the Arrow file."""


@dataclass(frozen=True)
class StageDirectory:
    """A finished stage directory, opened by its manifest."""

    url: str

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of `stage.json`.

        Raises:
            UserError: the directory is unfinished or of another format version.
        """
        return read_manifest(storage.join(self.url, MANIFEST), FORMAT_VERSION, "corpus")

    @property
    def fingerprint(self) -> str:
        """Depends on the stages and on the content of every shard."""
        return str(self.manifest["fingerprint"])

    @property
    def shards(self) -> list[Shard]:
        """The shards in order."""
        return [Shard(**entry) for entry in self.manifest["shards"]]

    def path(self, shard: Shard) -> str:
        """Where the shard's Arrow file lies."""
        return storage.join(self.url, f"{shard.name}.arrow")

    def dropped_path(self, shard: Shard) -> str:
        """Where the shard's drop log lies."""
        return storage.join(self.url, "dropped", f"{shard.name}.parquet")

    def batches(self) -> Iterator[pa.Table]:
        """All documents, batch by batch, in order."""
        for shard in self.shards:
            yield from read_batches(self.path(shard))


def remove_stale_shards(folders: Sequence[str], names: Iterable[str]) -> None:
    """Remove shards of an earlier run that had more of them: what a manifest does not list is not there."""
    listed = set(names)
    for folder in folders:
        for name in storage.list_names(folder):
            if name.startswith("shard-") and name.split(".")[0] not in listed:
                storage.remove(storage.join(folder, name))


def write_dataset_files(url: str, schema: pa.Schema, files: Sequence[str], content_fingerprint: str) -> None:
    """Write the two files that let `datasets.load_from_disk(url)` map the listed Arrow files.

    They are written here instead of by `datasets`, whose import costs a second in each process.
    """
    storage.write_json(
        storage.join(url, "dataset_info.json"),
        {"citation": "", "description": "", "features": _features(schema), "homepage": "", "license": ""},
    )
    storage.write_json(
        storage.join(url, "state.json"),
        {
            "_data_files": [{"filename": name} for name in files],
            "_fingerprint": content_fingerprint[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        },
    )


def _features(schema: pa.Schema) -> dict[str, Any]:
    return {field.name: _feature(field.type) for field in schema}


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    names = {"double": "float64", "float": "float32"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}
