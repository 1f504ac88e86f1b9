"""Which candidate pairs are near-duplicates in truth, and the groups that those form.

A candidate pair shares a band of its signatures; verification computes the true Jaccard similarity of the two sets
of shingles from the texts, so the result has no false pairs whatever the bands. Only texts of candidates are read,
in the order in which they lie on disk.

Groups are transitive: a document that is near to one which is near to a third is in the group of all three. Its
similarity to the kept document may then be below the threshold; the drop log says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.dedup.candidates import unique_pairs
from pipeline.dedup.components import Components
from pipeline.dedup.keeping import KeepRule, kept_documents
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.partitions import read_partitions, write_partitions
from pipeline.dedup.removals import GIANT_GROUP, VERIFIED_SCHEMA, groups_table
from pipeline.dedup.similarity import similarities
from pipeline.shard import shard_name


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
    first, second = unique_pairs(candidates["first"].to_numpy(), candidates["second"].to_numpy())
    similarity = similarities(numbered, first, second, shingle_words)
    similar = similarity >= threshold
    name = f"{shard_name(shard)}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name),
        pa.table([first[similar], second[similar], similarity[similar]], schema=VERIFIED_SCHEMA),
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
    """Task: the groups that all pairs form, partitioned by shard; reads one partition of one file at a time."""
    numbered = NumberedCorpus(corpus)
    components = Components(numbered.documents)
    for url in pairs:
        for partition in range(partitions):
            rows = read_partitions([url], partition, partitions, content)
            components.join(rows["first"].to_numpy(), rows["second"].to_numpy())
    roots = components.roots()
    sizes = np.bincount(roots, minlength=numbered.documents)
    document = np.flatnonzero(sizes[roots] > 1)
    root = roots[document]
    kept, rank = kept_documents(numbered, document, root, keep)
    name = "groups.arrow"
    sha256 = write_partitions(
        storage.join(directory, name),
        groups_table(document, kept, sizes[root], rank),
        numbered.shard_of(document),
        numbered.shards,
        groups_content,
    )
    return {
        "files": {name: sha256},
        "groups": int((sizes > 1).sum()),
        "giant_groups": int((sizes >= GIANT_GROUP).sum()),
        "largest": int(sizes.max(initial=0)),
    }
