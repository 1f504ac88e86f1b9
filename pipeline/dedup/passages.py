"""Deduplication of passages (lines, paragraphs, runs of sentences): a passage seen before in the corpus is cut out.

    hashes (a file a shard, partitioned by hash) -> decisions (a file a partition, partitioned by shard)
    -> removals (a file a shard) -> the applying stage

A shard's file holds each of its passages once, with the place of the first one and the number of copies; a reducer adds
up the copies of all shards and says for each shard which hashes go, and where the one occurrence is that stays. The
applying stage splits and hashes again and looks hashes up: so a line that stands in every document of a billion costs
one row a shard, not one an occurrence.

Decisions: the first passage in corpus order stays, whatever the order of tasks. 128-bit hashes, see
`pipeline.kernels.passages`. A file that is missing, damaged or made with other settings stops the job.

Cost: memory of a map task is some 100 bytes a passage of its shard, of a reducer as much for each different passage of
its partition in each shard.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.dedup.folding import Ignorable, folded
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.partitions import partition_name, read_partition, read_partitions, write_partitions
from pipeline.dedup.phases import partition_tasks, run_phase, shard_tasks, text_tasks
from pipeline.settings import Settings
from pipeline.shard import StageDirectory, fingerprint, read_batches, shard_name
from pipeline.stage import Runner

KERNELS = ("passages", "sentences")
"""Kernel modules that splitting and hashing use."""

_HASHES_SCHEMA = pa.schema(
    [
        ("high", pa.uint64()),
        ("low", pa.uint64()),
        ("document", pa.int64()),
        ("passage", pa.int32()),
        ("copies", pa.int64()),
    ]
)
"""One row for each different passage of a shard: where it stands first, and how often it occurs."""

REMOVALS_SCHEMA = pa.schema(
    [("high", pa.uint64()), ("low", pa.uint64()), ("kept_document", pa.int64()), ("kept_passage", pa.int32())]
)
"""One row for each passage that is cut out of a shard; the occurrence that stays in the corpus, -1 when none does."""


class Passages(Settings):
    """How documents are cut into passages and how those are compared."""

    unit: Literal["line", "paragraph", "sentence"]
    """What a passage is made of."""
    run: int
    """Units of a passage; every run of so many consecutive units of a document is one."""
    words: Literal["english", "unicode"]
    """How text is split to find sentences."""
    ignore: tuple[Ignorable, ...]
    """What makes no difference."""
    characters_min: int
    """Passages with fewer compared characters are no duplicates of anything."""
    within_documents: bool
    """Whether a passage that occurs twice in one document is a copy of itself."""

    def split(self, texts: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Byte positions of the units: starts and ends int64 [units], offsets int64 [documents + 1]."""
        from pipeline.kernels.characters import classes
        from pipeline.kernels.column import text_column
        from pipeline.kernels.passages import split_passages
        from pipeline.kernels.sentences import split_sentences

        column = text_column(texts)
        if self.unit == "sentence":
            sentences = split_sentences(column, self.words)
            return sentences.starts, sentences.ends, sentences.offsets
        starts, ends, offsets = split_passages(column.data, column.offsets, classes(), int(self.unit == "paragraph"))
        return starts, ends, offsets

    def hashes(
        self, texts: pa.ChunkedArray, starts: np.ndarray, ends: np.ndarray, offsets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the passage that begins with each unit: high and low uint64 [units], whether it counts bool [units]."""
        from pipeline.kernels.column import text_column
        from pipeline.kernels.passages import hash_passages

        data = text_column(texts).data
        high, low, characters = hash_passages(data, starts, ends, offsets, folded(self.ignore), self.run)
        return high, low, characters >= max(1, self.characters_min)


def find_copies(
    corpus: StageDirectory,
    directory: str,
    runner: Runner,
    passages: Passages,
    name: str,
    stamp: str,
    min_copies: int,
    keep: Literal["first", "none"],
    partition_bytes: int,
) -> str:
    """Plan what is cut out of every shard, below `directory`/removals; returns a fingerprint of it all.

    Args:
        corpus: The finished corpus to search.
        directory: Where everything goes.
        runner: Runs the tasks.
        passages: What is compared.
        name: The stage's name, for progress.
        stamp: Fingerprint of all settings that decide which passages are equal.
        min_copies: Occurrences in the corpus from which a passage is cut out.
        keep: Whether its first occurrence stays.
        partition_bytes: Text that one reducer handles.
    """
    numbered = NumberedCorpus(corpus.url)
    partitions = -(-sum(shard.text_bytes for shard in corpus.shards) // partition_bytes) or 1
    stamp = fingerprint(stamp, corpus.fingerprint, partitions)
    contents = {
        "hashes": f"{name} hashes {stamp}",
        "decisions": f"{name} decisions {fingerprint(stamp, min_copies, keep)}",
    }
    folders = {step: storage.join(directory, step) for step in ("hashes", "decisions", "removals")}
    hashed = run_phase(
        runner,
        folders["hashes"],
        f"{name}: hashes",
        text_tasks(
            write_hashes,
            folders["hashes"],
            corpus,
            {"partitions": partitions, "content": contents["hashes"], "passages": passages},
            (contents["hashes"],),
            KERNELS,
            numbered.starts,
        ),
    )
    decided = run_phase(
        runner,
        folders["decisions"],
        f"{name}: decisions",
        partition_tasks(
            write_decisions,
            folders["decisions"],
            partitions,
            {
                "corpus": corpus.url,
                "hashes": folders["hashes"],
                "content": contents["hashes"],
                "decisions_content": contents["decisions"],
                "min_copies": min_copies,
                "keep": keep,
            },
            (hashed, contents["decisions"]),
        ),
    )
    return run_phase(
        runner,
        folders["removals"],
        f"{name}: removals",
        shard_tasks(
            write_removals,
            folders["removals"],
            numbered.shards,
            {
                "corpus": corpus.url,
                "decisions": folders["decisions"],
                "partitions": partitions,
                "content": contents["decisions"],
            },
            (decided,),
        ),
    )


def write_hashes(
    directory: str, path: str, shard: int, first: int, partitions: int, content: str, passages: Passages
) -> dict[str, Any]:
    """Task: the different passages of one shard, partitioned by hash."""
    parts: list[tuple[np.ndarray, ...]] = []
    for batch in read_batches(path):
        starts, ends, offsets = passages.split(batch["text"])
        high, low, counts = passages.hashes(batch["text"], starts, ends, offsets)
        document, passage = places(offsets)
        parts.append((high[counts], low[counts], first + document[counts], passage[counts]))
        first += batch.num_rows
    empty = (np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64))
    high, low, document, passage = (np.concatenate(columns) for columns in zip(empty, *parts, strict=True))
    # Stable: the first row of equal hashes is the first in the shard.
    order = np.lexsort((low, high))
    high, low, document = high[order], low[order], document[order]
    begins = _begins(high, low)
    counted = np.ones(len(high), np.int64)
    if not passages.within_documents:
        counted[1:] = begins[1:] | (document[1:] != document[:-1])
    heads = np.flatnonzero(begins)
    columns = [high[heads], low[heads], document[heads], passage[order][heads].astype(np.int32), _sums(counted, heads)]
    name = f"{shard_name(shard)}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name),
        pa.table(columns, schema=_HASHES_SCHEMA),
        (high[heads] % np.uint64(partitions)).astype(np.int64),
        partitions,
        content,
    )
    return {"files": {name: sha256}, "passages": len(high), "different": len(heads)}


def write_decisions(
    directory: str,
    corpus: str,
    hashes: str,
    partition: int,
    partitions: int,
    content: str,
    decisions_content: str,
    min_copies: int,
    keep: Literal["first", "none"],
) -> dict[str, Any]:
    """Task: what goes and what stays of one partition of the hashes, partitioned by shard."""
    numbered = NumberedCorpus(corpus)
    files = [storage.join(hashes, f"{shard_name(shard)}.arrow") for shard in range(numbered.shards)]
    rows = read_partitions(files, partition, partitions, content)
    high, low, document, passage, copies = (rows[name].to_numpy() for name in _HASHES_SCHEMA.names)
    order = np.lexsort((document, low, high))
    high, low, document, passage, copies = (column[order] for column in (high, low, document, passage, copies))
    begins = _begins(high, low)
    heads = np.flatnonzero(begins)
    totals = _sums(copies, heads)
    group = np.cumsum(begins) - 1
    first = keep == "first"
    # Of a shard that holds nothing but the one occurrence that stays, nothing is cut out.
    chosen = (totals >= min_copies)[group] & ~(first & begins & (copies == 1))
    columns = [
        high[chosen],
        low[chosen],
        (document[heads][group] if first else np.full(len(group), -1))[chosen],
        (passage[heads][group] if first else np.full(len(group), -1))[chosen].astype(np.int32),
    ]
    name = f"{partition_name(partition)}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name),
        pa.table(columns, schema=REMOVALS_SCHEMA),
        numbered.shard_of(document[chosen]),
        numbered.shards,
        decisions_content,
    )
    return {
        "files": {name: sha256},
        "repeated": int((totals >= min_copies).sum()),
        "most_copies": int(totals.max(initial=0)),
    }


def write_removals(
    directory: str, corpus: str, decisions: str, shard: int, partitions: int, content: str
) -> dict[str, Any]:
    """Task: what is cut out of one shard, sorted by hash."""
    numbered = NumberedCorpus(corpus)
    files = [storage.join(decisions, f"{partition_name(partition)}.arrow") for partition in range(partitions)]
    rows = read_partitions(files, shard, numbered.shards, content)
    high, low, kept, passage = (rows[name].to_numpy() for name in REMOVALS_SCHEMA.names)
    order = np.lexsort((low, high))
    table = pa.table([column[order] for column in (high, low, kept, passage)], schema=REMOVALS_SCHEMA)
    name = f"{shard_name(shard)}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name), table, np.zeros(len(table), np.int64), 1, _removals_content(shard)
    )
    return {"files": {name: sha256}, "passages": len(table)}


def read_removals(directory: str, shard: int) -> tuple[np.ndarray, ...]:
    """The columns of `REMOVALS_SCHEMA` of one shard.

    Raises:
        UserError: the file is missing or damaged.
    """
    rows = read_partition(storage.join(directory, f"{shard_name(shard)}.arrow"), 0, 1, _removals_content(shard))
    columns = tuple(rows[name].to_numpy() for name in REMOVALS_SCHEMA.names)
    for column in columns:
        # The kernel is compiled for read-only arrays.
        column.flags.writeable = False
    return columns


def places(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Document of each unit, and its place in the document, from offsets int64 [documents + 1]: int64 [units] each."""
    document = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return document, np.arange(len(document)) - offsets[document]


def _begins(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Whether each of sorted hashes differs from the one before it."""
    begins = np.ones(len(high), bool)
    begins[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return begins


def _sums(values: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Sum of the values from each head to the next."""
    return np.diff(np.append(0, np.cumsum(values))[np.append(heads, len(values))])


def _removals_content(shard: int) -> str:
    return f"passages removed from {shard_name(shard)}"
