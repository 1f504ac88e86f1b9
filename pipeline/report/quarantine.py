"""Records that could not be read or that broke a stage: how many, why, and where to look.

Cost: the totals come from the manifests; reasons and places from the quarantine files of the sampled shards.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.report.funnel import Corpus

REASONS = 10


@dataclass(frozen=True)
class QuarantineReason:
    """One kind of fault with a record that has it."""

    reason: str
    records: int
    """In the sampled shards."""
    file: str
    line: str
    """Line number, or another name of the place in the file; empty when there is none."""
    excerpt: str


@dataclass(frozen=True)
class QuarantineSummary:
    """All quarantined records of a corpus."""

    records: int
    """In the whole corpus, exact."""
    reasons: Sequence[QuarantineReason]
    """The most frequent ones, at most `REASONS`."""


def read_quarantine(corpus: Corpus) -> QuarantineSummary:
    """Count the quarantined records by reason, each with its first record."""
    counts: Counter[str] = Counter()
    first: dict[str, Mapping[str, Any]] = {}
    for directory in corpus.directories:
        for shard in corpus.sample:
            path = storage.join(directory.url, "quarantine", f"{shard.name}.jsonl")
            if not directory.manifest["quarantined"] or not storage.exists(path):
                continue
            with storage.open_binary(path) as file:
                for line in file:
                    entry = json.loads(line)
                    counts[entry["reason"]] += 1
                    first.setdefault(entry["reason"], entry)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:REASONS]
    return QuarantineSummary(
        records=sum(directory.manifest["quarantined"] for directory in corpus.directories),
        reasons=[_reason(count, first[reason]) for reason, count in ranked],
    )


def _reason(records: int, entry: Mapping[str, Any]) -> QuarantineReason:
    return QuarantineReason(entry["reason"], records, entry["file"], str(entry["line"]), entry.get("excerpt", ""))
