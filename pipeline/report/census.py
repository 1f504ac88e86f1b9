"""Languages, sources and lengths of the documents, before and after all stages.

Decisions: every document that was read is either in the last shard or in one drop log of its name, so "before"
is the kept documents plus the dropped ones and needs no copy of the raw corpus. Lengths are UTF-8 bytes of text,
in bins that double. Only the columns that are counted are touched: of a memory-mapped shard, the offsets of the
text and not the text.

Cost: one pass over those columns of the sampled shards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute

from pipeline.report.drops import DropSummary
from pipeline.report.funnel import Corpus
from pipeline.shard import open_table

LENGTH_BINS = 26
"""Bin i holds lengths from 2^i to 2^(i+1) - 1 bytes, 0 also the empty text, the last one all longer."""
UNKNOWN = "unknown"


@dataclass
class Census:
    """Documents of the sampled shards, counted."""

    languages_kept: Counter[str] = field(default_factory=Counter)
    """By language code; `UNKNOWN` when no stage told the language."""
    languages_rejected: Counter[str] = field(default_factory=Counter)
    """Dropped for their language."""
    sources: Counter[str] = field(default_factory=Counter)
    """Kept documents by source."""
    source_bytes: Counter[str] = field(default_factory=Counter)
    """UTF-8 bytes of kept text by source."""
    lengths_before: Sequence[int] = ()
    """Documents read, by length bin."""
    lengths_after: Sequence[int] = ()
    """Documents kept, by length bin."""


def take_census(corpus: Corpus, drops: DropSummary) -> Census:
    """Count the sampled shards of a corpus.

    Raises:
        UserError: a shard is damaged.
    """
    census = Census(languages_rejected=drops.rejected_languages)
    kept = np.zeros(LENGTH_BINS, dtype=np.int64)
    for shard in corpus.sample:
        table = open_table(corpus.final.path(shard))
        lengths = compute.cast(compute.binary_length(table["text"]), pa.int64())
        kept += bin_lengths(lengths.to_numpy())
        census.languages_kept.update(_counts(table["language"]))
        census.sources.update(_counts(table["source"]))
        sizes = pa.table({"source": table["source"], "size": lengths}).group_by("source").aggregate([("size", "sum")])
        census.source_bytes.update(dict(zip(sizes["source"].to_pylist(), sizes["size_sum"].to_pylist(), strict=True)))
    dropped = sum((bin_lengths(lengths) for lengths in drops.lengths), np.zeros(LENGTH_BINS, dtype=np.int64))
    census.lengths_after = kept.tolist()
    census.lengths_before = (kept + dropped).tolist()
    return census


def bin_lengths(lengths: np.ndarray) -> np.ndarray:
    """How many of the lengths fall into each of the `LENGTH_BINS` bins."""
    bins = np.log2(np.maximum(lengths, 1)).astype(np.int64)
    return np.bincount(np.minimum(bins, LENGTH_BINS - 1), minlength=LENGTH_BINS)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    pairs = compute.value_counts(column).to_pylist()
    return {UNKNOWN if pair["values"] is None else pair["values"]: pair["counts"] for pair in pairs}
