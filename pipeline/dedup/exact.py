"""Exact deduplication: of documents whose normalised text is equal, only one is kept.

Shards are hashed (xxh3 of 128 bits) into one partitioned file each; a reducer sorts its partition of all files and
groups equal hashes. At 10^10 documents the chance of one false match is 10^-19.

Decisions: by default runs of white space count as one space and characters are compared in Unicode's composed form
(NFC), because such differences come from extraction, not from the author; case counts, because it is content. Texts are
normalised as a column; only those outside ASCII are looked at one by one, because few are not in that form already.

Cost: 180 MB of text a CPU-second; memory of a reducer is about 100 bytes for each document of its partition.
"""

from __future__ import annotations

import unicodedata
from dataclasses import asdict
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from pipeline import storage
from pipeline.dedup.costs import plan_line
from pipeline.dedup.keeping import KeepingStage, KeepRule, kept_documents
from pipeline.dedup.minhash_costs import DOCUMENT_BYTES
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.partitions import partition_name, read_partitions, write_partitions
from pipeline.dedup.phases import partition_tasks, run_phase, text_tasks
from pipeline.dedup.removals import Action, RemoveDuplicates, groups_table, label_columns, plan_removals
from pipeline.shard import StageDirectory, fingerprint, read_batches, shard_name
from pipeline.stage import DocumentStage, Outcome, Position, Runner

HASH_BYTES = 24
"""A document's hash and number on disk."""
REDUCER_BYTES = 100
"""Memory of a reducer for each document of its partition."""
MEGABYTES_A_SECOND = 80.0
"""Text in one CPU-second, survey and applying together."""
_HASHES_SCHEMA = pa.schema([("high", pa.uint64()), ("low", pa.uint64()), ("document", pa.int64())])
_LOW_BITS = (1 << 64) - 1
_KERNELS = ("white_space",)


class ExactDedup(KeepingStage):
    """Keeps one of all documents with the same text."""

    name = "exact_dedup"
    version = 3
    kernels = _KERNELS

    ignore_whitespace: bool = True
    """Take every run of white space as one space, and none at the ends."""
    ignore_case: bool = False
    """Compare lower-cased texts."""
    partition_documents: int = Field(default=16_000_000, ge=1)
    """Documents that one reducer handles: about 100 bytes of memory each. Changes no result."""

    action: Action = "drop"
    """`drop` the others of a group, or `label` all documents with group, kept id, similarity and size as columns
    `exact_duplicate_*` and drop none."""
    copies_column: str | None = Field(default=None, min_length=1)
    """Name of a column to add: how many documents of the corpus have the text, 1 where no other does. FineWeb-2 samples
    documents by it again (re-hydration): what was copied now and then is better than average."""

    def plan_lines(self, text_bytes: int, shards: int | None = None) -> list[str]:
        """What the stage will take for so much text."""
        partition_bytes = self.partition_documents * DOCUMENT_BYTES
        figures = (HASH_BYTES / DOCUMENT_BYTES, REDUCER_BYTES / DOCUMENT_BYTES, MEGABYTES_A_SECOND)
        return [plan_line(text_bytes, shards, 2, partition_bytes, *figures)]

    def survey(self, corpus: StageDirectory, directory: str, runner: Runner) -> DocumentStage:
        """Hash all documents, group equal hashes, plan the removals."""
        labels = label_columns(RemoveExactDuplicates.rule) if self.action == "label" else []
        self.check_columns(corpus, [*labels, *filter(None, [self.copies_column])])
        numbered = NumberedCorpus(corpus.url)
        partitions = -(-numbered.documents // self.partition_documents) or 1
        rule = self.keep_rule
        stamp = fingerprint(self.version, self.ignore_whitespace, self.ignore_case, corpus.fingerprint, partitions)
        hashes_content = f"hashes {stamp}"
        groups_content = f"groups of equal hashes {fingerprint(stamp, asdict(rule))}"
        hashes, groups = storage.join(directory, "hashes"), storage.join(directory, "groups")
        hashed = run_phase(
            runner,
            hashes,
            f"{self.name}: hashes",
            text_tasks(
                write_hashes,
                hashes,
                corpus,
                {
                    "partitions": partitions,
                    "content": hashes_content,
                    "ignore_whitespace": self.ignore_whitespace,
                    "ignore_case": self.ignore_case,
                },
                (hashes_content,),
                _KERNELS,
                numbered.starts,
            ),
        )
        grouped = runner.map(
            groups,
            f"{self.name}: groups",
            partition_tasks(
                write_groups,
                groups,
                partitions,
                {
                    "corpus": corpus.url,
                    "hashes": hashes,
                    "content": hashes_content,
                    "groups_content": groups_content,
                    "rule": rule,
                },
                (hashed, groups_content),
            ),
        )
        removals = storage.join(directory, "removals")
        result = plan_removals(
            runner,
            f"{self.name}: removals",
            removals,
            corpus.url,
            [storage.join(groups, f"{partition_name(partition)}.arrow") for partition in range(partitions)],
            groups_content,
            fingerprint([record["files"] for record in grouped], groups_content),
            None,
        )
        return RemoveExactDuplicates(
            directory=removals,
            result=result,
            threshold=1.0,
            action=self.action,
            copies_column=self.copies_column,
        )


class RemoveExactDuplicates(RemoveDuplicates):
    """Applies what `exact_dedup` found."""

    name = "exact_dedup"
    rule: ClassVar[str] = "exact_duplicate"

    copies_column: str | None
    """Column for the number of documents with the text, if any."""

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Drop or label the rows that the survey named; add the number of copies."""
        outcome = super().apply(documents, position)
        if self.copies_column is None:
            return outcome
        copies = np.ones(documents.num_rows, np.int64)
        rows = self._rows(position, documents.num_rows)
        copies[rows["row"].to_numpy() - position.first_row] = rows["size"].to_numpy()
        outcome.documents = outcome.documents.append_column(self.copies_column, pa.array(copies))
        return outcome


def compared_texts(texts: pa.ChunkedArray, ignore_whitespace: bool, ignore_case: bool) -> tuple[np.ndarray, np.ndarray]:
    """The texts as they are compared: uint8 [bytes] of UTF-8, int64 [documents + 1]."""
    from pipeline.kernels.characters import classes
    from pipeline.kernels.column import text_column
    from pipeline.kernels.white_space import collapse_white_space

    array = pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], texts.type)
    beyond_ascii = pc.invert(pc.string_is_ascii(array))
    others = array.filter(beyond_ascii).to_pylist()
    compared = [unicodedata.normalize("NFC", text.lower() if ignore_case else text) for text in others]
    if ignore_case:
        array = pc.ascii_lower(array)
    if ignore_case or compared != others:
        array = pc.replace_with_mask(array, beyond_ascii, pa.array(compared, array.type))
    column = text_column(array)
    if not ignore_whitespace:
        return column.data, column.offsets
    data, offsets = collapse_white_space(column.data, column.offsets, classes())
    return data, offsets


def text_hashes(texts: pa.ChunkedArray, ignore_whitespace: bool, ignore_case: bool) -> tuple[np.ndarray, np.ndarray]:
    """uint64 [documents] each: the higher and lower half of xxh3-128 of the texts as they are compared."""
    data, offsets = compared_texts(texts, ignore_whitespace, ignore_case)
    view = data.data
    digests = [xxhash.xxh3_128_intdigest(view[begin:end]) for begin, end in pairwise(offsets.tolist())]
    high = np.array([digest >> 64 for digest in digests], np.uint64)
    return high, np.array([digest & _LOW_BITS for digest in digests], np.uint64)


def write_hashes(
    directory: str,
    path: str,
    shard: int,
    first: int,
    partitions: int,
    content: str,
    ignore_whitespace: bool,
    ignore_case: bool,
) -> dict[str, Any]:
    """Task: the hashes of one shard's documents, partitioned by hash."""
    parts = [(np.empty(0, np.uint64), np.empty(0, np.uint64))]
    parts += [text_hashes(batch["text"], ignore_whitespace, ignore_case) for batch in read_batches(path)]
    high, low = (np.concatenate(halves) for halves in zip(*parts, strict=True))
    table = pa.table([high, low, np.arange(first, first + len(high))], schema=_HASHES_SCHEMA)
    name = f"{shard_name(shard)}.arrow"
    partition = (high % np.uint64(partitions)).astype(np.int64)
    return {"files": {name: write_partitions(storage.join(directory, name), table, partition, partitions, content)}}


def write_groups(
    directory: str,
    corpus: str,
    hashes: str,
    partition: int,
    partitions: int,
    content: str,
    groups_content: str,
    rule: KeepRule,
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
    root, size = np.repeat(document[starts], sizes), np.repeat(sizes, sizes)
    members = np.flatnonzero(size > 1)
    members = members[np.argsort(document[members])]
    document, root, size = document[members], root[members], size[members]
    kept, rank = kept_documents(numbered, document, root, rule)
    table = groups_table(document, kept, size, rank)
    name = f"{partition_name(partition)}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name), table, numbered.shard_of(document), numbered.shards, groups_content
    )
    return {"files": {name: sha256}, "groups": int((sizes > 1).sum()), "largest": int(sizes.max(initial=0))}
