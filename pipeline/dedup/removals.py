"""From groups of duplicates to the stage that removes all but the kept one of each.

The last step of every deduplication: groups (partitioned by shard) become one small file a shard, which names for
each of its rows that has a twin the kept document and the similarity to it, and so for twins in an index of another
corpus. The applying stage reads that file and nothing else. A missing or damaged file stops the job; it never means
"no duplicates".
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pydantic import Field

from pipeline import storage
from pipeline.arrays import arrow_array, empty_table, numpy_array
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.partitions import read_partition, read_partitions, write_partitions
from pipeline.dedup.phases import run_phase
from pipeline.dedup.similarity import KERNELS, similarities
from pipeline.shard import fingerprint, shard_name
from pipeline.stage import DocumentStage, Drops, Outcome, Position, Runner, Task

GIANT_GROUP = 1000
"""A group of at least so many documents is worth a look: it may be a chain of boilerplate, not one document."""

GROUPS_SCHEMA = pa.schema([("document", pa.int64()), ("kept", pa.int64()), ("size", pa.int64()), ("rank", pa.int64())])
"""One row for each document that has a twin, the kept one (its own `kept`) included; `size` is the group's, `rank` the
document's place in it by the rule that chose the kept one, whose rank is 0."""

VERIFIED_SCHEMA = pa.schema([("first", pa.int64()), ("second", pa.int64()), ("similarity", pa.float64())])
"""Pairs of documents whose similarity is known, ascending, the smaller number first."""

KNOWN_SCHEMA = pa.schema([("document", pa.int64()), ("kept_id", pa.string()), ("similarity", pa.float64())])
"""One row for each document that has a twin in an index, ascending; it is in no group."""

_LABELS = ("group", "of", "similarity", "group_size")
Action = Literal["drop", "label"]
GiantGroups = Literal["direct", "keep", "drop", "cap"]

_REMOVALS_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("group", pa.int64()),
        ("kept_id", pa.string()),
        ("similarity", pa.float64()),
        ("size", pa.int64()),
        ("rank", pa.int64()),
    ]
)
"""`group`, `size` and `rank` are null where the twin is in an index."""


def label_columns(rule: str) -> list[str]:
    """The columns that labelling adds to the documents."""
    return [f"{rule}_{name}" for name in _LABELS]


def groups_table(document: np.ndarray, kept: np.ndarray, size: np.ndarray, rank: np.ndarray) -> pa.Table:
    """Rows of `GROUPS_SCHEMA` from equally long int64 arrays."""
    return pa.table([arrow_array(column) for column in (document, kept, size, rank)], schema=GROUPS_SCHEMA)


def plan_removals(
    runner: Runner,
    label: str,
    directory: str,
    corpus: str,
    groups: list[str],
    content: str,
    inputs: str,
    shingle_words: int | None,
    verified: tuple[str, str] | None = None,
    known: tuple[str, str] | None = None,
) -> str:
    """Write the removals of every shard below `directory`; returns a fingerprint of them all.

    Args:
        runner: Runs one task a shard.
        label: Name of the step, for progress.
        directory: Where the removal files go.
        corpus: The stage directory that was searched for duplicates.
        groups: Files of `GROUPS_SCHEMA`, partitioned by shard.
        content: What the groups' files say they hold.
        inputs: Fingerprint of the groups.
        shingle_words: Shingle size for the similarity to the kept document; None when all members are equal.
        verified: Folder of a file of `VERIFIED_SCHEMA` for each shard (pairs whose second document is in it) and what
            those say they hold: similarities that need not be computed again.
        known: Folder of a file of `KNOWN_SCHEMA` for each shard and what those say they hold.
    """
    numbered = NumberedCorpus(corpus)
    tasks = [
        Task(
            key=shard_name(shard),
            function=write_removals,
            arguments={
                "directory": directory,
                "corpus": corpus,
                "shard": shard,
                "groups": groups,
                "content": content,
                "shingle_words": shingle_words,
                "verified": verified,
                "known": known,
            },
            inputs=fingerprint(inputs, shard, shingle_words),
            kernels=() if shingle_words is None else KERNELS,
        )
        for shard in range(numbered.shards)
    ]
    return run_phase(runner, directory, label, tasks)


def write_removals(
    directory: str,
    corpus: str,
    shard: int,
    groups: list[str],
    content: str,
    shingle_words: int | None,
    verified: tuple[str, str] | None,
    known: tuple[str, str] | None,
) -> dict[str, Any]:
    """Task: look up ids and similarities of what is removed from one shard."""
    numbered = NumberedCorpus(corpus)
    rows = read_partitions(groups, shard, numbered.shards, content)
    document, kept, size, rank = (numpy_array(rows[name]) for name in GROUPS_SCHEMA.names)
    removed = np.flatnonzero(document != kept)
    places = removed[np.lexsort((document[removed], kept[removed]))]
    values = np.ones(len(places))
    if shingle_words is not None:
        if verified is not None:
            values = _known_similarities(verified, numbered, shard, kept[places], document[places])
        unknown = np.ones(len(places), bool) if verified is None else np.isnan(values)
        values[unknown] = similarities(numbered, kept[places[unknown]], document[places[unknown]], shingle_words)
    # Where each document's kept one stands in `places`; null, so that `take` gives null, for the kept ones themselves.
    found = np.full(len(document), -1, np.int64)
    found[places] = np.arange(len(places))
    rows_of = compute.if_else(arrow_array(found >= 0), arrow_array(found), pa.nulls(len(found), pa.int64()))
    table = pa.table(
        {
            "row": arrow_array(document - numbered.starts[shard]),
            "group": arrow_array(kept),
            "kept_id": numbered.take("id", kept[places]).cast(pa.string()).take(rows_of),
            "similarity": arrow_array(values).take(rows_of),
            "size": arrow_array(size),
            "rank": arrow_array(rank),
        },
        schema=_REMOVALS_SCHEMA,
    )
    if known is not None:
        table = pa.concat_tables([table, _known_rows(known, shard, int(numbered.starts[shard]))])
    table = table.sort_by("row")
    name = f"{shard_name(shard)}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name), table, np.zeros(len(table), np.int64), 1, _removals_content(shard)
    )
    return {"files": {name: sha256}, "removed": table.num_rows - table["kept_id"].null_count}


def _known_rows(known: tuple[str, str], shard: int, first: int) -> pa.Table:
    """Rows of `_REMOVALS_SCHEMA` for documents that have a twin in an index."""
    folder, content = known
    found = read_partition(storage.join(folder, f"{shard_name(shard)}.arrow"), 0, 1, content)
    columns = {
        "row": compute.subtract(found["document"], first),
        "kept_id": found["kept_id"],
        "similarity": found["similarity"],
    }
    nothing = pa.nulls(found.num_rows, pa.int64())
    return pa.table([columns.get(name, nothing) for name in _REMOVALS_SCHEMA.names], schema=_REMOVALS_SCHEMA)


def _known_similarities(
    verified: tuple[str, str], numbered: NumberedCorpus, shard: int, kept: np.ndarray, document: np.ndarray
) -> np.ndarray:
    """float64[documents]: what verification found of each pair; NaN where it compared other pairs."""
    folder, content = verified
    pairs = read_partition(storage.join(folder, f"{shard_name(shard)}.arrow"), 0, 1, content)
    begin, end = numbered.starts[shard : shard + 2]
    # Both numbers as one: the second is in this shard, so this fits 64 bits.
    keys = numpy_array(pairs["first"]) * (end - begin) + numpy_array(pairs["second"]) - begin
    wanted = kept * (end - begin) + document - begin
    places = np.searchsorted(keys, wanted)
    known = places < len(keys)
    known[known] = keys[places[known]] == wanted[known]
    values = np.full(len(wanted), np.nan)
    values[known] = numpy_array(pairs["similarity"])[places[known]]
    return values


def _removals_content(shard: int) -> str:
    return f"removals of {shard_name(shard)}"


@lru_cache(maxsize=4)
def _removals(url: str, result: str, content: str) -> pa.Table:
    return read_partition(url, 0, 1, content)


class RemoveDuplicates(DocumentStage):
    """Drops the documents that a survey found to have a twin that is kept, or labels the groups.

    The rule of a document that is less similar to the kept one than the threshold (others of the group stand between
    the two) ends with `_indirect`, that of a document whose twin is in an index with `_known`.
    """

    rule: ClassVar[str]
    """Rule named in the drop log."""

    directory: str = Field(exclude=True)
    """Where the removals lie; no part of the fingerprint, so that a run directory can be moved."""
    result: str
    """Fingerprint of all removals: another result makes the following shards be done again."""
    threshold: float
    """Similarity from which documents count as duplicates, 0..1."""
    action: Action = "drop"
    """Drop, or add the columns `RULE_group` (a number that all documents of a group share), `RULE_of` (id of the kept
    document), `RULE_similarity` (to it) and `RULE_group_size`; they are null where there is no twin. A twin in an index
    is named without group and size."""
    giant_groups: GiantGroups = "direct"
    """What is dropped of groups of `GIANT_GROUP` or more: what is as similar as the threshold, nothing, all, or all but
    the best `giant_group_keeps`."""
    giant_group_keeps: int | None = None
    """Documents that stay of a giant group with `cap`, the kept one among them."""

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Drop or label the rows that the survey named; count groups and what stays of giant ones."""
        rows = self._rows(position, documents.num_rows)
        removed = numpy_array(rows["kept_id"].is_valid())
        giant = numpy_array(rows["size"], null=0) >= GIANT_GROUP
        counts = {
            "groups_of_duplicates": int((~removed).sum()),
            f"groups_of_{GIANT_GROUP}_or_more": int((~removed & giant).sum()),
        }
        drops = Drops()
        if self.action == "label":
            documents = self._labelled(documents, rows, position.first_row)
        else:
            similarity = numpy_array(rows["similarity"], null=np.nan)
            stays = giant & removed & (self.giant_groups != "drop")
            if self.giant_groups == "direct":
                stays &= similarity < self.threshold
            if self.giant_groups == "cap":
                stays &= numpy_array(rows["rank"], null=0) < self.giant_group_keeps
            counts["kept_of_giant_groups"] = int(stays.sum())
            self._drop(drops, rows.filter(arrow_array(removed & ~stays)), position.first_row)
        return Outcome(documents, drops, {name: count for name, count in counts.items() if count})

    def _rows(self, position: Position, count: int) -> pa.Table:
        """What the survey says of a batch."""
        if not count:
            return empty_table(_REMOVALS_SCHEMA)
        name = f"{shard_name(position.shard)}.arrow"
        removals = _removals(storage.join(self.directory, name), self.result, _removals_content(position.shard))
        begin, end = np.searchsorted(numpy_array(removals["row"]), [position.first_row, position.first_row + count])
        return removals.slice(int(begin), int(end - begin))

    def _drop(self, drops: Drops, rows: pa.Table, first_row: int) -> None:
        similarities = numpy_array(rows["similarity"], null=np.nan)
        names = np.array([self.rule, f"{self.rule}_indirect"], object)[(similarities < self.threshold).astype(np.int64)]
        names[numpy_array(rows["group"].is_null())] = f"{self.rule}_known"
        kept_ids = rows["kept_id"].combine_chunks()
        drops.add_twins(numpy_array(rows["row"]) - first_row, names.tolist(), similarities, self.threshold, kept_ids)

    def _labelled(self, documents: pa.Table, rows: pa.Table, first_row: int) -> pa.Table:
        places = np.full(documents.num_rows, -1, np.int64)
        places[numpy_array(rows["row"]) - first_row] = np.arange(rows.num_rows)
        taken = rows.take(pa.array(places, mask=places < 0))
        kept = compute.and_(taken["row"].is_valid(), taken["kept_id"].is_null())
        labels = (
            taken["group"],
            compute.if_else(kept, documents["id"].cast(pa.string()), taken["kept_id"]),
            compute.if_else(kept, 1.0, taken["similarity"]),
            taken["size"],
        )
        for name, values in zip(label_columns(self.rule), labels, strict=True):
            documents = documents.append_column(name, values)
        return documents
