"""Which candidate pairs are near-duplicates in truth, and the groups that those form.

A candidate pair shares a band of its signatures; verification computes the true Jaccard similarity of the two sets
of shingles from the texts, so the result has no false pairs whatever the bands. Only texts of candidates are read,
in the order in which they lie on disk.

The groups of all documents are formed in one task, which holds only those that are in a pair: a quarter of a byte for
each document of the corpus, 4 bytes for each that is in a pair, and 130 bytes for each of `SLICE_DOCUMENTS`.

Groups are transitive: a document that is near to one which is near to a third is in the group of all three. Its
similarity to the kept document may then be below the threshold; the drop log says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.arrays import arrow_array, numpy_array
from pipeline.dedup.candidates import unique_pairs
from pipeline.dedup.components import Components
from pipeline.dedup.keeping import KeepRule, kept_documents
from pipeline.dedup.number_set import NumberSet
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.partitions import partitions_of, read_partitions, write_partitions
from pipeline.dedup.removals import GIANT_GROUP, VERIFIED_SCHEMA, groups_table
from pipeline.dedup.similarity import similarities
from pipeline.shard import shard_name

SLICE_DOCUMENTS = 8_000_000
"""Documents whose kept ones are chosen at a time, whole groups: a gigabyte. Changes no decision."""


def write_verified(
    directory: str,
    corpus: str,
    pairs: list[str],
    shard: int,
    content: str,
    verified_content: str,
    shingle_words: int,
    threshold: float,
) -> dict[str, Any]:
    """Task: the pairs whose second document is in this shard and whose similarity reaches the threshold."""
    numbered = NumberedCorpus(corpus)
    candidates = read_partitions(pairs, shard, numbered.shards, content)
    first, second = unique_pairs(numpy_array(candidates["first"]), numpy_array(candidates["second"]))
    similarity = similarities(numbered, first, second, shingle_words)
    similar = similarity >= threshold
    name = f"{shard_name(shard)}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name),
        pa.table([arrow_array(column[similar]) for column in (first, second, similarity)], schema=VERIFIED_SCHEMA),
        np.zeros(int(similar.sum()), np.int64),
        1,
        verified_content,
    )
    return {"files": {name: sha256}, "candidates": len(first), "similar": int(similar.sum())}


def write_groups(
    directory: str,
    corpus: str,
    pairs: list[str],
    partitions: int,
    content: str,
    groups_content: str,
    keep: KeepRule,
) -> dict[str, Any]:
    """Task: the groups that all pairs form, some groups a file, each file partitioned by shard.

    Reads each file of pairs twice, one partition at a time: who is in a pair, then who with whom.
    """
    numbered = NumberedCorpus(corpus)
    paired = NumberSet(numbered.documents)
    for first, second in _pairs(pairs, partitions, content):
        paired.add(first)
        paired.add(second)
    components = Components(len(paired))
    for first, second in _pairs(pairs, partitions, content):
        components.join(paired.places(first), paired.places(second))
    files: dict[str, str] = {}
    groups = giant_groups = largest = 0
    for members, root in components.slices(SLICE_DOCUMENTS):
        document = paired.members(members)
        _, place, sizes = np.unique(root, return_inverse=True, return_counts=True)
        kept, rank = kept_documents(numbered, document, root, keep)
        name = f"groups-{len(files):05d}.arrow"
        files[name] = write_partitions(
            storage.join(directory, name),
            groups_table(document, kept, sizes[place], rank),
            numbered.shard_of(document),
            numbered.shards,
            groups_content,
        )
        groups += len(sizes)
        giant_groups += int((sizes >= GIANT_GROUP).sum())
        largest = max(largest, int(sizes.max(initial=0)))
    return {"files": files, "groups": groups, "giant_groups": giant_groups, "largest": largest}


def _pairs(urls: list[str], partitions: int, content: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for url in urls:
        for rows in partitions_of(url, partitions, content):
            yield numpy_array(rows["first"]), numpy_array(rows["second"])
