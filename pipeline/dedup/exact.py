"""Exact deduplication: of documents whose normalised text is equal, only the first is kept.

Shards are hashed (xxh3 of 128 bits) into one partitioned file each; a reducer sorts its partition of all files and
groups equal hashes. At 10^10 documents the chance of one false match is 10^-19.

Decisions: by default runs of white space count as one space and characters are compared in Unicode's composed form
(NFC), because such differences come from extraction, not from the author; case counts, because it is content.

Cost: about 60 MB of text a CPU-second; memory of a reducer is about 100 bytes for each document of its partition.
"""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field

from pipeline import storage
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.partitions import read_partitions, write_partitions
from pipeline.dedup.removals import RemoveDuplicates, groups_table, plan_removals
from pipeline.shard import StageDirectory, fingerprint, read_batches, shard_name
from pipeline.stage import DocumentStage, Runner, SurveyStage, Task

_HASHES_SCHEMA = pa.schema([("high", pa.uint64()), ("low", pa.uint64()), ("document", pa.int64())])
_LOW_BITS = (1 << 64) - 1


class ExactDedup(SurveyStage):
    """Keeps the first of all documents with the same text."""

    name = "exact_dedup"

    ignore_whitespace: bool = True
    """Take every run of white space as one space, and none at the ends."""
    ignore_case: bool = False
    """Compare lower-cased texts."""
    partition_documents: int = Field(default=16_000_000, ge=1)
    """Documents that one reducer handles: about 100 bytes of memory each. Changes no result."""

    def survey(self, corpus: StageDirectory, directory: str, runner: Runner) -> DocumentStage:
        """Hash all documents, group equal hashes, plan the removals."""
        numbered = NumberedCorpus(corpus.url)
        partitions = -(-numbered.documents // self.partition_documents) or 1
        stamp = fingerprint(self.fingerprint(), corpus.fingerprint, partitions)
        hashes_content, groups_content = f"hashes {stamp}", f"groups of equal hashes {stamp}"
        hashes, groups = storage.join(directory, "hashes"), storage.join(directory, "groups")
        hashed = runner.map(
            hashes,
            f"{self.name}: hashes",
            [
                Task(
                    key=shard_name(index),
                    function=write_hashes,
                    arguments={
                        "directory": hashes,
                        "path": numbered.paths[index],
                        "shard": index,
                        "first": int(numbered.starts[index]),
                        "partitions": partitions,
                        "content": hashes_content,
                        "settings": self,
                    },
                    inputs=fingerprint(hashes_content, index),
                    weight=max(1, shard.text_bytes),
                )
                for index, shard in enumerate(corpus.shards)
            ],
        )
        hashed_files = fingerprint([record["files"] for record in hashed])
        grouped = runner.map(
            groups,
            f"{self.name}: groups",
            [
                Task(
                    key=f"partition-{partition:05d}",
                    function=write_groups,
                    arguments={
                        "directory": groups,
                        "corpus": corpus.url,
                        "hashes": hashes,
                        "partition": partition,
                        "partitions": partitions,
                        "content": hashes_content,
                        "groups_content": groups_content,
                    },
                    inputs=fingerprint(hashed_files, groups_content, partition),
                )
                for partition in range(partitions)
            ],
        )
        removals = storage.join(directory, "removals")
        result = plan_removals(
            runner,
            f"{self.name}: removals",
            removals,
            corpus.url,
            [storage.join(groups, f"partition-{partition:05d}.arrow") for partition in range(partitions)],
            groups_content,
            fingerprint([record["files"] for record in grouped], groups_content),
            None,
        )
        return RemoveExactDuplicates(directory=removals, result=result, threshold=1.0)


class RemoveExactDuplicates(RemoveDuplicates):
    """Applies what `exact_dedup` found."""

    name = "exact_dedup"
    rule: ClassVar[str] = "exact_duplicate"


def normalised(text: str, ignore_whitespace: bool, ignore_case: bool) -> str:
    """The text as it is compared."""
    if ignore_case:
        text = text.lower()
    text = unicodedata.normalize("NFC", text)
    return " ".join(text.split()) if ignore_whitespace else text


def write_hashes(
    directory: str, path: str, shard: int, first: int, partitions: int, content: str, settings: ExactDedup
) -> dict[str, Any]:
    """Task: the hashes of one shard's documents, partitioned by hash."""
    digests: list[int] = []
    for batch in read_batches(path):
        for text in batch["text"].to_pylist():
            compared = normalised(text, settings.ignore_whitespace, settings.ignore_case)
            digests.append(xxhash.xxh3_128_intdigest(compared.encode()))
    high = np.array([digest >> 64 for digest in digests], np.uint64)
    low = np.array([digest & _LOW_BITS for digest in digests], np.uint64)
    table = pa.table([high, low, np.arange(first, first + len(digests))], schema=_HASHES_SCHEMA)
    name = f"{shard_name(shard)}.arrow"
    partition = (high % np.uint64(partitions)).astype(np.int64)
    return {"files": {name: write_partitions(storage.join(directory, name), table, partition, partitions, content)}}


def write_groups(
    directory: str, corpus: str, hashes: str, partition: int, partitions: int, content: str, groups_content: str
) -> dict[str, Any]:
    """Task: the groups of equal hashes of one partition, partitioned by shard."""
    numbered = NumberedCorpus(corpus)
    files = [storage.join(hashes, f"{shard_name(shard)}.arrow") for shard in range(numbered.shards)]
    rows = read_partitions(files, partition, partitions, content)
    high, low, document = (rows[name].to_numpy() for name in _HASHES_SCHEMA.names)
    order = np.lexsort((document, low, high))
    high, low, document = high[order], low[order], document[order]
    is_first = np.ones(len(document), bool)
    is_first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    starts = np.flatnonzero(is_first)
    sizes = np.diff(np.append(starts, len(document)))
    kept, size = np.repeat(document[starts], sizes), np.repeat(sizes, sizes)
    grouped = size > 1
    table = groups_table(document[grouped], kept[grouped], size[grouped])
    name = f"partition-{partition:05d}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name), table, numbered.shard_of(document[grouped]), numbered.shards, groups_content
    )
    return {"files": {name: sha256}, "groups": int((sizes > 1).sum()), "largest": int(sizes.max(initial=0))}
