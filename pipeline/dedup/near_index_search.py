"""Which documents of a corpus have a near-duplicate in an index of another corpus.

    bands (of the corpus, by partition) + bands of the indexes -> matches (a file a partition of the keys)
    -> carried (a file a part of the indexes: ids and sketches, for each shard of the corpus that asked for them)
    -> known (a file a shard) and remaining (the shard's band keys without the known documents)

Every phase runs out of core: memory is bounded by `partition_keys` or by a shard; no task reads a whole index.

Decisions: a document is known if it shares a band with a document of an index and their similarity, estimated from
sketches, reaches the threshold. Of several it names the most similar one, then that of the first index, then the first
there. Known documents leave before the others are compared with each other, as if an earlier stage had dropped them:
were they in groups, one could be chosen as the kept document and vanish with all that was dropped for its sake.

In a bucket (equal keys) a document is compared with the first four of the indexes: those that an index has more of are
strangers that share boilerplate, and a true twin is found in other bands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.dedup.candidates import PAIRS_SCHEMA, unique_pairs
from pipeline.dedup.near_index import ENTRIES_SCHEMA, KERNELS, MANIFEST, IndexSettings, sketches_of
from pipeline.dedup.near_index_reading import NearIndexes, check_part
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.partitions import partition_name, read_partition, read_partitions, write_partitions
from pipeline.dedup.phases import run_phase
from pipeline.dedup.removals import KNOWN_SCHEMA
from pipeline.dedup.similarity import PART_BYTES
from pipeline.dedup.sketches import SKETCH_BYTES, estimated_similarity
from pipeline.kernels.column import text_column
from pipeline.shard import fingerprint, shard_name
from pipeline.stage import Runner, Task

MATCHES_IN_A_BUCKET = 4
"""Documents of the indexes with which one document is compared for each of its bands."""
_CARRIED_SCHEMA = pa.schema([("entry", pa.int64()), *ENTRIES_SCHEMA])


@dataclass(frozen=True)
class KnownDocuments:
    """Where the result lies."""

    folder: str
    """Of a file of `KNOWN_SCHEMA` for each shard."""
    content: str
    """What these files say they hold."""
    remaining: str
    """Folder of the band keys without those of known documents, which are otherwise as before."""
    stamp: str
    """Fingerprint of all of them."""


def find_known(
    runner: Runner,
    label: str,
    directory: str,
    corpus: str,
    bands: tuple[str, str],
    partitions: int,
    indexes: NearIndexes,
    threshold: float,
    partition_keys: int,
    stamp: str,
) -> KnownDocuments:
    """Compare a corpus with indexes, below `directory`.

    Args:
        runner: Runs the tasks.
        label: Name of the step, for progress.
        directory: Where all files go.
        corpus: The stage directory.
        bands: Folder of its band keys, and what those files say they hold.
        partitions: Their partitions, a power of two.
        indexes: What is known.
        threshold: Estimated similarity from which a document is known.
        partition_keys: Keys of the indexes that one task handles.
        stamp: Fingerprint of the band keys.
    """
    numbered = NumberedCorpus(corpus)
    parts = indexes.parts(partition_keys)
    manifests = [storage.sha256_of(storage.join(url, MANIFEST)) for url in indexes.urls]
    made_of = fingerprint(stamp, manifests, partitions, parts)
    # Without the manifests that this one has read: arguments are small.
    unread = replace(indexes)
    common = {"corpus": corpus, "indexes": unread}
    folders = {name: storage.join(directory, name) for name in ("checked", "matches", "carried", "known")}
    contents = {name: f"minhash {name} {made_of}" for name in folders}

    def run(phase: str, function: Any, keys: list[str], arguments: list[dict[str, Any]], inputs: Any) -> str:
        tasks = [
            Task(
                key=key,
                function=function,
                arguments={"directory": folders[phase], "content": contents[phase], **given},
                inputs=fingerprint(made_of, inputs, number),
                kernels=KERNELS if phase in ("checked", "known") else (),
            )
            for number, (key, given) in enumerate(zip(keys, arguments, strict=True))
        ]
        return run_phase(runner, folders[phase], f"{label}: {phase}", tasks)

    part_names = [f"part-{part:05d}" for part in range(len(parts))]
    partition_names = [partition_name(partition) for partition in range(partitions)]
    shard_names = [shard_name(shard) for shard in range(numbered.shards)]
    states = [_state(file.url(folder)) for file in indexes.files for folder in ("bands", "entries")]
    run("checked", check_part, part_names, [{"indexes": unread, "files": files} for files in parts], states)
    found = run(
        "matches",
        write_matches,
        partition_names,
        [{**common, "bands": bands, "partition": (number, partitions), "parts": parts} for number in range(partitions)],
        stamp,
    )
    matches = [storage.join(folders["matches"], f"{name}.arrow") for name in partition_names]
    found = run(
        "carried",
        write_carried,
        part_names,
        [
            {**common, "matches": matches, "matches_content": contents["matches"], "part": part, "parts": parts}
            for part in range(len(parts))
        ],
        found,
    )
    found = run(
        "known",
        write_known,
        shard_names,
        [
            {
                **common,
                "carried": [folders["carried"], contents["carried"], part_names],
                "bands": bands,
                "partitions": partitions,
                "shard": shard,
                "threshold": threshold,
            }
            for shard in range(numbered.shards)
        ],
        (found, threshold),
    )
    return KnownDocuments(folders["known"], contents["known"], storage.join(folders["known"], "remaining"), found)


def write_matches(
    directory: str,
    content: str,
    corpus: str,
    indexes: NearIndexes,
    bands: tuple[str, str],
    partition: tuple[int, int],
    parts: list[tuple[int, int]],
) -> dict[str, Any]:
    """Task: pairs of a document and an indexed one with an equal key in one partition, partitioned by part."""
    numbered = NumberedCorpus(corpus)
    folder, bands_content = bands
    files = [storage.join(folder, f"{shard_name(shard)}.arrow") for shard in range(numbered.shards)]
    rows = read_partitions(files, *partition, bands_content)
    document, entry, left_out = bucket_matches(
        rows["key"].to_numpy(), rows["document"].to_numpy(), *indexes.keys(*partition)
    )
    first_of_part = indexes.starts[[first for first, _ in parts]]
    name = f"{partition_name(partition[0])}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name),
        pa.table([document, entry], schema=PAIRS_SCHEMA),
        np.searchsorted(first_of_part, entry, side="right") - 1,
        len(parts),
        content,
    )
    return {"files": {name: sha256}, "matches": len(document), "left_out": left_out}


def bucket_matches(
    keys: np.ndarray, documents: np.ndarray, known_keys: np.ndarray, entries: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Documents and indexed ones with an equal key: pairs ascending, each once, and how many were left out.

    Args:
        keys: uint64[keys] of the corpus.
        documents: int64[keys]: their documents.
        known_keys: uint64[known keys] of the indexes.
        entries: int64[known keys]: their documents' numbers.
    """
    order = np.lexsort((entries, known_keys))
    known_keys, entries = known_keys[order], entries[order]
    order = np.argsort(keys)
    keys, documents = keys[order], documents[order]
    first = np.searchsorted(known_keys, keys)
    counts = np.searchsorted(known_keys, keys, side="right") - first
    taken = np.minimum(counts, MATCHES_IN_A_BUCKET)
    place = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    pairs = np.repeat(documents, taken), entries[np.repeat(first, taken) + place]
    return *unique_pairs(*pairs), int((counts - taken).sum())


def write_carried(
    directory: str,
    content: str,
    corpus: str,
    indexes: NearIndexes,
    matches: list[str],
    matches_content: str,
    part: int,
    parts: list[tuple[int, int]],
) -> dict[str, Any]:
    """Task: of one part of the indexes, the matches and what is needed to judge them, partitioned by shard.

    A document of an index is carried once to each shard that has a match with it.
    """
    numbered = NumberedCorpus(corpus)
    rows = read_partitions(matches, part, len(parts), matches_content)
    document, entry = unique_pairs(rows["first"].to_numpy(), rows["second"].to_numpy())
    shard = numbered.shard_of(document)
    files = {}

    def write(folder: str, table: pa.Table, partition: np.ndarray) -> None:
        name = f"{folder}/part-{part:05d}.arrow"
        files[name] = write_partitions(storage.join(directory, name), table, partition, numbered.shards, content)

    write("pairs", pa.table([document, entry], schema=PAIRS_SCHEMA), shard)
    entry, shard = unique_pairs(entry, shard)
    carried = [_CARRIED_SCHEMA.empty_table()]
    for file in range(*parts[part]):
        begin, end = np.searchsorted(entry, indexes.starts[file : file + 2])
        if begin == end:
            continue
        known = read_partition(indexes.files[file].url("entries"), 0, 1, indexes.settings.content)
        chosen = known.take(pa.array(entry[begin:end] - indexes.starts[file]))
        carried.append(chosen.add_column(0, "entry", pa.array(entry[begin:end])).cast(_CARRIED_SCHEMA))
    write("entries", pa.concat_tables(carried), shard)
    return {"files": files, "matches": len(document), "carried": len(entry)}


def write_known(
    directory: str,
    content: str,
    corpus: str,
    indexes: NearIndexes,
    carried: tuple[str, str, list[str]],
    bands: tuple[str, str],
    partitions: int,
    shard: int,
    threshold: float,
) -> dict[str, Any]:
    """Task: the documents of one shard that are known, and the band keys of the others."""
    numbered = NumberedCorpus(corpus)
    folder, carried_content, names = carried
    tables = [
        read_partitions(
            [storage.join(folder, kind, f"{name}.arrow") for name in names], shard, numbered.shards, carried_content
        )
        for kind in ("pairs", "entries")
    ]
    document, entry = (tables[0][name].to_numpy() for name in PAIRS_SCHEMA.names)
    numbers = tables[1]["entry"].to_numpy()
    place = np.searchsorted(numbers, entry)
    members, row = np.unique(document, return_inverse=True)
    similarity = estimated_similarity(
        _sketches(numbered, members, indexes.settings), sketches_of(tables[1]["sketch"]), row, place
    )
    order = np.lexsort((entry, -similarity, document))
    best = order[np.diff(document[order], prepend=-1) != 0]
    best = best[similarity[best] >= threshold]
    ids = tables[1]["id"].take(pa.array(place[best]))
    found = pa.table([pa.array(document[best]), ids, pa.array(similarity[best])], schema=KNOWN_SCHEMA)
    name = f"{shard_name(shard)}.arrow"
    files = {name: write_partitions(storage.join(directory, name), found, np.zeros(len(best), np.int64), 1, content)}
    bands_folder, bands_content = bands
    url = storage.join(bands_folder, name)
    keys = pa.concat_tables([read_partition(url, number, partitions, bands_content) for number in range(partitions)])
    remaining = keys.filter(pa.array(~np.isin(keys["document"].to_numpy(), document[best])))
    partition = (remaining["key"].to_numpy() % np.uint64(partitions)).astype(np.int64)
    name = f"remaining/{name}"
    files[name] = write_partitions(storage.join(directory, name), remaining, partition, partitions, bands_content)
    return {"files": files, "candidates": len(document), "known": len(best)}


def _sketches(numbered: NumberedCorpus, documents: np.ndarray, settings: IndexSettings) -> np.ndarray:
    """Sketches of documents of the corpus, whose texts are read part by part: uint8[documents, SKETCH_BYTES]."""
    found = [np.empty((0, SKETCH_BYTES), np.uint8)]
    part = np.cumsum(numbered.text_bytes(documents)) // PART_BYTES
    bounds = np.flatnonzero(np.diff(part, prepend=-1)).tolist()
    for begin, end in pairwise([*bounds, len(documents)]):
        found.append(settings.sketches(text_column(numbered.take("text", documents[begin:end]))))
    return np.concatenate(found)


def _state(url: str) -> str:
    return storage.stamp_of(url) if storage.exists(url) else "missing"
