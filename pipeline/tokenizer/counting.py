"""Counts the pieces of the whole corpus: a task a shard, then a task a partition, and one table for the training.

    shard-00042-0.arrow      counts of a shard by group, cut into partitions; -1, -2 ... where it has too many pieces
    partition-00007.arrow    all shards, all groups: pieces of one partition and their weighted counts, by piece
    shard-00042.json ...     records of the tasks
    counts.json              manifest, written last; then the files of the shards are removed

The weight of a group g of documents (a source, a language) with b bytes of text is (B / b) ** (1 - temperature), where
B are the bytes of the largest group: so each group counts as if its documents were there so many times, and the shares
of the groups are as their natural shares to the power of `temperature`. Weights are computed in decimal arithmetic of
fixed precision and rounded to 1/65,536; the products are integers. So the counts are the same on every machine, for any
number of shards and workers.

Cost: 40 MB of text a CPU-second. A worker holds at most `MOST_ENTRIES` different pieces of a shard, a merging one those
of a partition, the training those of the corpus: 24 bytes each and their text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.dedup.partitions import read_partition, write_partitions
from pipeline.errors import UserError
from pipeline.kernels.column import text_column
from pipeline.sampling import chosen
from pipeline.shard import ArrowWriter, StageDirectory, fingerprint, finished_manifest, open_table, read_batches
from pipeline.stage import Runner, Task
from pipeline.tokenizer.characters import library_version
from pipeline.tokenizer.counts import KERNELS, ONE, Counts, PieceTable, piece_column
from pipeline.tokenizer.pieces import kernel_arguments
from pipeline.tokenizer.settings import PreTokenization, TokenizerSettings

FORMAT_VERSION = 1
CODE_VERSION = 1
"""Raised with every change of this code that changes what is counted."""
MANIFEST = "counts.json"
UNKNOWN = "unknown"
"""Group of the documents without a language."""
MOST_ENTRIES, MOST_BYTES = 1 << 21, 128 << 20
"""Limits of the table of one shard."""
BYTES_A_PARTITION, MOST_PARTITIONS = 256 << 20, 1024
_EVERYTHING = "all"
_DECIMAL = Context(prec=50)


@dataclass(frozen=True)
class Counting:
    """What decides which pieces of a corpus are counted and how often."""

    pre_tokenization: PreTokenization
    group_column: str | None
    share: float
    """Share of the documents."""
    longest: int
    partitions: int

    @staticmethod
    def of(settings: TokenizerSettings, corpus: StageDirectory) -> Counting:
        """From the settings and the size of the corpus."""
        total = sum(shard.text_bytes for shard in corpus.shards)
        most = settings.max_training_bytes
        return Counting(
            pre_tokenization=settings.pieces,
            group_column=settings.sampling.by if settings.sampling else None,
            share=1.0 if most is None or total <= most else most / total,
            longest=settings.max_piece_bytes,
            partitions=min(MOST_PARTITIONS, 4 + total // BYTES_A_PARTITION),
        )

    def fingerprint(self) -> str:
        """Depends on all fields, on this code and on the library whose classes of characters decide the pieces."""
        fields = (self.pre_tokenization.model_dump(), self.group_column, self.share, self.longest, self.partitions)
        return fingerprint("counts", CODE_VERSION, library_version(), *fields)


def count_pieces(settings: TokenizerSettings, corpus: StageDirectory, directory: str, runner: Runner) -> dict[str, Any]:
    """Count the pieces of the corpus; return the manifest. Does nothing when it is up to date.

    The manifest tells `documents`, `text_bytes`, `pieces` (occurrences), `long_pieces` and `long_piece_bytes` (what was
    left out), `groups` with documents, text_bytes and weight, and the `files` of the partitions.

    Raises:
        ShardsFailed: some shards could not be counted; the others are kept.
    """
    counting = Counting.of(settings, corpus)
    temperature = settings.sampling.temperature if settings.sampling else 1.0
    wanted = fingerprint(counting.fingerprint(), corpus.fingerprint, temperature, settings.min_piece_count)
    finished = _finished_counts(directory, wanted)
    if finished is not None:
        _remove_strays(directory, finished)
        return finished
    storage.remove(storage.join(directory, MANIFEST))
    kernel_arguments(settings.pieces)  # asks the library here, if it was never asked, and not in each worker

    shards = runner.map(directory, "count", _shard_tasks(counting, corpus, directory))
    groups = _groups(shards, temperature)
    files = [name for record in shards for name in sorted(record["files"], key=_spill_number)]
    content = fingerprint([record["files"] for record in shards], groups, settings.min_piece_count)
    merged = runner.map(directory, "merge counts", _merge_tasks(counting, directory, files, groups, settings, content))
    manifest = {
        "format_version": FORMAT_VERSION,
        "fingerprint": wanted,
        "documents": sum(group["documents"] for group in groups.values()),
        "text_bytes": sum(group["text_bytes"] for group in groups.values()),
        "groups": groups,
        "files": [{"file": name, "sha256": sha} for record in merged for name, sha in record["files"].items()],
        **{key: sum(record[key] for record in shards) for key in ("pieces", "long_pieces", "long_piece_bytes")},
        **{key: sum(record[key] for record in merged) for key in ("distinct_pieces", "rare_pieces")},
    }
    storage.write_json(storage.join(directory, MANIFEST), manifest)
    _remove_strays(directory, manifest)
    return manifest


def read_counts(directory: str, manifest: dict[str, Any]) -> Counts:
    """The counted pieces of a finished count, partition by partition.

    Raises:
        UserError: a file is missing or was changed.
    """
    tables = []
    for entry in manifest["files"]:
        url = storage.join(directory, entry["file"])
        if not _is_sound(directory, entry):
            raise UserError(f"{url} is missing or was changed: remove {directory} and run the same command again")
        tables.append(open_table(url))
    return Counts.from_tables(tables)


def _finished_counts(directory: str, wanted: str) -> dict[str, Any] | None:
    manifest = finished_manifest(storage.join(directory, MANIFEST), FORMAT_VERSION, wanted)
    if manifest is None or not all(_is_sound(directory, entry) for entry in manifest["files"]):
        return None
    return manifest


def _is_sound(directory: str, entry: dict[str, str]) -> bool:
    url = storage.join(directory, entry["file"])
    return storage.exists(url) and storage.sha256_of(url) == entry["sha256"]


def _remove_strays(directory: str, manifest: dict[str, Any]) -> None:
    """Remove the counts of single shards, and what an earlier corpus with more partitions left."""
    kept = {file for entry in manifest["files"] for file in (entry["file"], entry["file"].replace(".arrow", ".json"))}
    for name in storage.list_names(directory):
        if name.startswith(("shard-", "partition-")) and name not in kept:
            storage.remove(storage.join(directory, name))


def _shard_tasks(counting: Counting, corpus: StageDirectory, directory: str) -> list[Task]:
    return [
        Task(
            key=shard.name,
            function=count_shard,
            arguments={
                "corpus_shard": storage.absolute(corpus.path(shard)),
                "counting": counting,
                "directory": storage.absolute(directory),
                "name": shard.name,
            },
            inputs=fingerprint(counting.fingerprint(), shard.sha256),
            weight=max(1, shard.text_bytes),
            kernels=KERNELS,
        )
        for shard in corpus.shards
    ]


def count_shard(corpus_shard: str, counting: Counting, directory: str, name: str) -> dict[str, Any]:
    """Count the pieces of one shard into one file, or several when the table reaches its limits."""
    classes, kind = kernel_arguments(counting.pre_tokenization)
    table = PieceTable(counting.longest, MOST_ENTRIES, MOST_BYTES)
    numbers: dict[str, int] = {}
    sizes: dict[str, dict[str, int]] = {}
    files: dict[str, str] = {}
    pieces = 0

    def write() -> None:
        nonlocal pieces
        file = f"{name}-{len(files)}.arrow"
        rows = table.table(list(numbers))
        pieces += int(np.sum(rows["count"].to_numpy()))
        partition = table.partitions(counting.partitions)
        url = storage.join(directory, file)
        files[file] = write_partitions(url, rows, partition, counting.partitions, counting.fingerprint())
        table.clear()

    for batch in read_batches(corpus_shard):
        if counting.share < 1.0:
            batch = batch.filter(pa.array(chosen(batch["text"], counting.share, "tokenizer training")))
        texts = text_column(batch["text"])
        groups = _group_numbers(batch, counting.group_column, numbers)
        _add_sizes(sizes, list(numbers), groups, np.diff(texts.offsets))
        while not table.add_texts(texts, groups, classes, kind):
            write()
    write()
    return {
        "files": files,
        "groups": sizes,
        "pieces": pieces,
        "long_pieces": table.long_pieces,
        "long_piece_bytes": table.long_piece_bytes,
    }


def _group_numbers(batch: pa.Table, column: str | None, numbers: dict[str, int]) -> np.ndarray:
    """int32 [documents]: the number of each document's group; new groups get the next numbers."""
    if column is None:
        numbers.setdefault(_EVERYTHING, 0)
        return np.zeros(batch.num_rows, np.int32)
    encoded = batch[column].combine_chunks().fill_null(UNKNOWN).dictionary_encode()
    places = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
    groups: np.ndarray = np.array(places, np.int32)[encoded.indices.to_numpy()]
    return groups


def _add_sizes(
    sizes: dict[str, dict[str, int]], names: Sequence[str], groups: np.ndarray, text_bytes: np.ndarray
) -> None:
    documents = np.bincount(groups, minlength=len(names)).tolist()
    for number, name in enumerate(names):
        entry = sizes.setdefault(name, {"documents": 0, "text_bytes": 0})
        entry["documents"] += documents[number]
        entry["text_bytes"] += int(text_bytes[groups == number].sum())


def _groups(shards: Sequence[dict[str, Any]], temperature: float) -> dict[str, dict[str, int]]:
    """Documents, text_bytes and weight (in units of `ONE`) of each group, by name."""
    groups: dict[str, dict[str, int]] = {}
    for record in shards:
        for name, entry in record["groups"].items():
            known = groups.setdefault(name, {"documents": 0, "text_bytes": 0})
            for key, value in entry.items():
                known[key] += value
    largest = max((entry["text_bytes"] for entry in groups.values()), default=0)
    for entry in groups.values():
        entry["weight"] = weight_of(entry["text_bytes"], largest, temperature)
    return dict(sorted(groups.items()))


def weight_of(text_bytes: int, largest: int, temperature: float) -> int:
    """(largest / text_bytes) ** (1 - temperature) in units of `ONE`, rounded; `ONE` for a group without text."""
    if not text_bytes or temperature == 1.0:
        return ONE
    ratio = _DECIMAL.divide(Decimal(largest), Decimal(text_bytes))
    exponent = _DECIMAL.subtract(Decimal(1), Decimal(str(temperature)))
    weight = _DECIMAL.multiply(_DECIMAL.power(ratio, exponent), Decimal(ONE))
    return int(_DECIMAL.to_integral_value(weight))


def _merge_tasks(
    counting: Counting,
    directory: str,
    files: Sequence[str],
    groups: dict[str, dict[str, int]],
    settings: TokenizerSettings,
    content: str,
) -> list[Task]:
    return [
        Task(
            key=f"partition-{partition:05d}",
            function=merge_partition,
            arguments={
                "files": files,
                "counting": counting,
                "partition": partition,
                "weights": {name: entry["weight"] for name, entry in groups.items()},
                "least": settings.min_piece_count,
                "directory": storage.absolute(directory),
                "name": f"partition-{partition:05d}",
            },
            inputs=fingerprint(CODE_VERSION, content),
            kernels=KERNELS,
        )
        for partition in range(counting.partitions)
    ]


def merge_partition(
    files: Sequence[str],
    counting: Counting,
    partition: int,
    weights: dict[str, int],
    least: int,
    directory: str,
    name: str,
) -> dict[str, Any]:
    """Add up one partition of the counts of all shards."""
    table = PieceTable()
    names = {group: number for number, group in enumerate(weights)}
    for file in files:
        url = storage.join(directory, file)
        rows = read_partition(url, partition, counting.partitions, counting.fingerprint()).combine_chunks()
        if rows.num_rows:
            groups = rows["group"].chunk(0)
            places = np.array([names[group] for group in groups.dictionary.to_pylist()], np.int32)
            numbers = places[groups.indices.to_numpy()]
            table.add_counts(piece_column(rows["piece"].chunk(0)), numbers, rows["count"].to_numpy())
    distinct = table.added_up(np.array(list(weights.values()), np.int64))
    kept = distinct.filter(pc.greater_equal(distinct["count"], least)) if least > 1 else distinct
    path = f"{name}.arrow"
    with storage.write_atomically(storage.join(directory, path)) as target:
        writer = ArrowWriter(target, kept.schema)
        writer.write(kept)
        sha256, _ = writer.close()
    return {
        "files": {path: sha256},
        "distinct_pieces": distinct.num_rows,
        "rare_pieces": distinct.num_rows - kept.num_rows,
    }


def _spill_number(file: str) -> int:
    return int(file.rpartition("-")[2].removesuffix(".arrow"))
