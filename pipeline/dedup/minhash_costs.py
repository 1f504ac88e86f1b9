"""What deduplication by MinHash will take, from the size of the text alone: told before any work starts.

Figures of one document: `docs/dedup-at-scale.md` says how each was found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.dedup.signatures import detection_probability
from pipeline.dedup.verification import SLICE_DOCUMENTS

DOCUMENT_BYTES = 3_000
"""Text of a document, when their number is not known: the mean of web pages after extraction."""
SHARD_BYTES = 64_000_000
"""Text of a shard, when their number is not known."""
KEY_BYTES = 16
"""A band key and its document on disk."""
REDUCER_BYTES = 100
"""Memory of a reducer for each of its keys: the keys, their order and their sorted copy."""
GROUP_BYTES = 4.25
"""Memory of the task that forms groups, for each document, if every one has a twin: its parent; who is in a pair."""
SLICE_BYTES = 140
"""Memory of that task for each of the documents whose kept ones are chosen at a time."""
INDEX_BYTES = 300
"""Of one document in an index, beside its band keys: the sketch and some 40 bytes of an id."""
INDEX_KEY_BYTES = 12
"""A band key in an index, and its document there."""
TEXT_MEGABYTES_A_SECOND = 60.0
"""Text in one CPU-second for all phases: signatures read all of it, verification what has candidates."""


@dataclass(frozen=True)
class Costs:
    """Of a corpus of so much text."""

    documents: int
    """Estimated."""
    files: int
    """Intermediate files, records left out."""
    key_bytes: int
    """Band keys on disk, the largest of the intermediate files."""
    partitions: int
    """Reducers."""
    reducer_bytes: int
    """Memory of one reducer."""
    group_bytes: int
    """Memory of the one task that forms the groups, at most."""
    cpu_hours: float
    """Of all tasks."""


def costs(text_bytes: int, shards: int | None, bands: int, partition_keys: int, verify: bool) -> Costs:
    """Estimate the costs for `text_bytes` of text in so many shards."""
    documents = max(1, text_bytes // DOCUMENT_BYTES)
    shards = shards or -(-text_bytes // SHARD_BYTES) or 1
    keys = documents * bands
    partitions = -(-keys // partition_keys)
    return Costs(
        documents=documents,
        files=shards * (3 if verify else 2) + partitions + 1,
        key_bytes=keys * KEY_BYTES,
        partitions=partitions,
        reducer_bytes=min(keys, partition_keys) * REDUCER_BYTES,
        group_bytes=int(documents * GROUP_BYTES) + min(documents, SLICE_DOCUMENTS) * SLICE_BYTES,
        cpu_hours=text_bytes / TEXT_MEGABYTES_A_SECOND / 1e6 / 3600,
    )


def index_bytes(documents: int, bands: int) -> int:
    """Of an index of so many documents."""
    return documents * (bands * INDEX_KEY_BYTES + INDEX_BYTES)


def curve(bands: int, rows: int) -> str:
    """The share of pairs that the bands find, by similarity: `0.5: 5 %, 0.6: 21 %, ...`."""
    similarities = np.arange(5, 10) / 10
    shares = detection_probability(similarities, bands, rows)
    return ", ".join(f"{value:.1f}: {share:.0%}" for value, share in zip(similarities, shares, strict=True))


def amount(size: int) -> str:
    """Bytes for people: `1.6 GB`."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9)):
        if size >= factor:
            return f"{size / factor:,.3g} {unit}"
    return f"{size / 10**6:,.3g} MB"
