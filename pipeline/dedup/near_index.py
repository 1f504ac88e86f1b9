"""An index of near-duplicates: what a later crawl is compared with when the texts of an earlier one are not read again.

near_index.json                 the manifest, written last: settings, and each file with its sha256
near/bands/shard-00000.arrow    the band keys of the documents of one shard, partitioned by key
near/entries/shard-00000.arrow  their ids and sketches (`sketches`), in the order of the shard

An index of equal texts (`text_index`) may lie in the same folder.

Decisions: what an index holds are the documents that a stage keeps, so that an index of July which was made with the
index of June does not repeat June. Keys are partitioned by their lowest bits: whoever has partitions that are a power
of two, fewer or more, finds his part without reading the others. An index made with other settings, by other code, or
with a file missing, truncated or changed is refused: it never means "nothing known". So that a change of the kernels
cannot make old keys silently match nothing, the manifest holds the keys of known texts, which are computed again.

Cost: 12 bytes for each band key, 256 for the sketch, and the id: about 460 bytes a document with 14 bands. Writing
reads the text once more, at 100 MB a CPU-second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.dedup import shingles, signatures
from pipeline.dedup.partitions import write_partitions
from pipeline.dedup.phases import text_tasks
from pipeline.dedup.sketches import SKETCH_BYTES, permutations, sketches
from pipeline.kernels.column import TextColumn, text_column
from pipeline.shard import StageDirectory, fingerprint, read_batches, remove_stale_shards, shard_name
from pipeline.stage import DocumentStage, Position, Runner

MANIFEST = "near_index.json"
FOLDER = "near"
"""Where the files lie in an index, and the records of the tasks that wrote them."""
FORMAT = 1
KERNELS = shingles.KERNELS + signatures.KERNELS
KEYS_SCHEMA = pa.schema([("key", pa.uint64()), ("entry", pa.int32())])
"""A band key and the row of its document in the file of entries."""
ENTRIES_SCHEMA = pa.schema([("id", pa.string()), ("sketch", pa.binary(SKETCH_BYTES))])
_PROBES = (
    "The quick brown fox jumps over the lazy dog, and then it sleeps.",
    "Zażółć gęślą jaźń",
    "敏捷的棕色狐狸",
    "",
)


@dataclass(frozen=True)
class IndexSettings:
    """What decides the keys and the sketches: those of an index and of what is compared with it must be equal."""

    bands: int
    rows: int
    shingle_words: int
    seed: int
    scheme: signatures.Scheme

    @property
    def content(self) -> str:
        """What the files of an index say they hold."""
        return f"near index {fingerprint(FORMAT, SKETCH_BYTES, asdict(self))}"

    def keys(self, sets: shingles.Shingles) -> np.ndarray:
        """Band keys: uint64[documents, bands]."""
        values = permutations(self.bands * self.rows, self.seed, self.scheme).signatures(sets)
        return signatures.band_keys(values, self.bands, self.rows)

    def sketches(self, texts: TextColumn | Sequence[str]) -> np.ndarray:
        """Sketches: uint8[documents, SKETCH_BYTES]."""
        return sketches(shingles.shingles(texts, self.shingle_words), self.seed, self.scheme)

    def probe(self) -> str:
        """Hash of the keys and sketches of fixed texts: another one means that other code made them."""
        sets = shingles.shingles(_PROBES, self.shingle_words)
        made = self.keys(sets).tobytes() + sketches(sets, self.seed, self.scheme).tobytes()
        return hashlib.sha256(made).hexdigest()


def write_near_index(
    url: str,
    corpus: StageDirectory,
    decision: DocumentStage,
    settings: IndexSettings,
    partition_keys: int,
    runner: Runner,
    label: str,
) -> None:
    """Write the index of the documents of `corpus` that `decision` does not drop; the manifest comes last.

    Args:
        url: Folder of the index; another index there is replaced.
        corpus: The corpus that was searched for duplicates.
        decision: Its `apply` names what to drop.
        settings: Of keys and sketches.
        partition_keys: Keys in a partition of the index, at most.
        runner: Runs one task a shard.
        label: Name of the step, for progress.
    """
    keys = sum(shard.rows for shard in corpus.shards) * settings.bands
    partitions = power_of_two(-(-keys // partition_keys))
    made_of = fingerprint(settings.content, partitions, corpus.fingerprint, decision.fingerprint())
    manifest, folder = storage.join(url, MANIFEST), storage.join(url, FOLDER)
    if storage.exists(manifest) and storage.read_json(manifest).get("made_of") != made_of:
        # Its files are about to be replaced.
        storage.remove(manifest)
    arguments = {"decision": decision, "settings": settings, "partitions": partitions}
    tasks = text_tasks(write_index_shard, folder, corpus, arguments, (made_of,), KERNELS)
    records = runner.map(folder, label, tasks)
    names = [task.key for task in tasks]
    content = {
        "format": FORMAT,
        "settings": asdict(settings),
        "made_of": made_of,
        "partitions": partitions,
        "probe": records[0]["probe"],
        "documents": sum(record["documents"] for record in records),
        "shards": [
            {"name": name, "documents": record["documents"], "files": record["files"]}
            for name, record in zip(names, records, strict=True)
        ],
    }
    if storage.exists(manifest) and storage.read_json(manifest) == content:
        return
    remove_stale_shards([folder, storage.join(folder, "bands"), storage.join(folder, "entries")], names)
    storage.write_json(manifest, content)


def write_index_shard(
    directory: str, path: str, shard: int, decision: DocumentStage, settings: IndexSettings, partitions: int
) -> dict[str, Any]:
    """Task: keys, ids and sketches of the documents of one shard that are kept."""
    keys = [np.empty((0, settings.bands), np.uint64)]
    entries = [ENTRIES_SCHEMA.empty_table()]
    first_row = 0
    for batch in read_batches(path):
        kept = np.ones(batch.num_rows, bool)
        dropped = decision.apply(batch, Position(shard, first_row)).drops
        kept[[row for row, _ in dropped.items()]] = False
        first_row += batch.num_rows
        batch = batch.filter(pa.array(kept))
        sets = shingles.shingles(text_column(batch["text"]), settings.shingle_words)
        keys.append(settings.keys(sets))
        sketched = sketches_column(sketches(sets, settings.seed, settings.scheme))
        entries.append(pa.table([batch["id"].cast(pa.string()), sketched], schema=ENTRIES_SCHEMA))
    flat = np.concatenate(keys).reshape(-1)
    documents = len(flat) // settings.bands
    numbers = np.repeat(np.arange(documents, dtype=np.int32), settings.bands)
    partition = (flat % np.uint64(partitions)).astype(np.int64)
    found = {
        "bands": (pa.table([flat, numbers], schema=KEYS_SCHEMA), partition, partitions),
        "entries": (pa.concat_tables(entries), np.zeros(documents, np.int64), 1),
    }
    files = {}
    for folder, (table, part, parts) in found.items():
        name = f"{folder}/{shard_name(shard)}.arrow"
        files[name] = write_partitions(storage.join(directory, name), table, part, parts, settings.content)
    return {"files": files, "documents": documents, "probe": settings.probe()}


def power_of_two(least: int) -> int:
    """The smallest power of two that is not below `least`."""
    return 1 << max(0, least - 1).bit_length()


def sketches_column(values: np.ndarray) -> pa.Array:
    """uint8[documents, SKETCH_BYTES] as an Arrow column."""
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.binary(SKETCH_BYTES), len(values), [None, buffer])


def sketches_of(column: pa.ChunkedArray) -> np.ndarray:
    """The reverse of `sketches_column`."""
    parts = [
        np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * SKETCH_BYTES :][: len(chunk) * SKETCH_BYTES]
        for chunk in column.chunks
    ]
    return np.concatenate([np.empty(0, np.uint8), *parts]).reshape(-1, SKETCH_BYTES)
