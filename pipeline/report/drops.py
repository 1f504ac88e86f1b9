"""Why documents were dropped: examples for each rule, and the largest groups of duplicates.

Decisions: how many documents a rule dropped comes from the manifests and is exact; examples and duplicate
groups are read from the drop logs of the sampled shards. Examples are spread evenly over what was read, so that
they do not all come from one corner of the corpus, and are the same on every run.

Cost: one read of those logs, a shard at a time; memory is bounded by one log and the ids of kept duplicates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from pipeline import storage
from pipeline.errors import UserError
from pipeline.report.funnel import Corpus

EXAMPLES = 3
GROUPS = 8
_SHOWN_COLUMNS = ["id", "source", "value", "threshold", "kept_id", "similarity", "text_bytes", "excerpt"]
_OTHER_LANGUAGE = ("language", "other_language")
"""Stage and rule whose measured value is a language."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class DroppedDocument:
    """One row of a drop log."""

    id: str
    source: str
    value: str | None
    """What was measured."""
    threshold: str | None
    """What it was held against."""
    kept_id: str | None
    """For a duplicate: the document that stayed."""
    similarity: float | None
    """To the document that stayed, 0 to 1."""
    text_bytes: int
    """UTF-8 bytes of the whole document."""
    excerpt: str


@dataclass(frozen=True)
class DropReason:
    """One rule of one stage."""

    stage: str
    rule: str
    documents: int
    """Dropped in the whole corpus."""
    share: float
    """Part of the documents that the stage looked at."""
    examples: Sequence[DroppedDocument]


@dataclass(frozen=True)
class DuplicateGroup:
    """A kept document with the duplicates that went because of it, counted in the sampled shards."""

    stage: str
    kept_id: str
    duplicates: int
    excerpt: str


@dataclass
class DropSummary:
    """What the report shows of the drop logs."""

    reasons: list[DropReason] = field(default_factory=list)
    duplicate_groups: list[DuplicateGroup] = field(default_factory=list)
    rejected_languages: Counter[str] = field(default_factory=Counter)
    """Documents dropped for their language, by the language that was seen."""
    lengths: list[np.ndarray] = field(default_factory=list)
    """UTF-8 bytes of the dropped documents' text, an array for each log."""


def read_drops(corpus: Corpus) -> DropSummary:
    """Examples, duplicate groups, rejected languages and lengths from the drop logs of the sampled shards.

    Raises:
        UserError: a drop log is missing or damaged.
    """
    summary = DropSummary()
    pools: defaultdict[tuple[str, str], list[DroppedDocument]] = defaultdict(list)
    groups: Counter[tuple[str, str]] = Counter()
    excerpts: dict[tuple[str, str], str] = {}
    for directory in corpus.directories:
        for shard in corpus.sample:
            log = _read_log(directory.dropped_path(shard))
            summary.lengths.append(log["text_bytes"].to_numpy())
            for stage, rule, rows in _by_rule(log):
                pools[stage, rule].extend(_spread_rows(rows, EXAMPLES))
                _count_duplicates(stage, rows, groups, excerpts)
                if (stage, rule) == _OTHER_LANGUAGE:
                    summary.rejected_languages.update(rows["value"].to_pylist())
    for step in corpus.funnel:
        for rule, count in step.dropped.items():
            examples = _spread(pools[step.stage, rule], EXAMPLES)
            summary.reasons.append(DropReason(step.stage, rule, count, count / step.documents_in, examples))
    summary.duplicate_groups = [
        DuplicateGroup(stage, kept_id, count, excerpts[stage, kept_id])
        for (stage, kept_id), count in sorted(groups.items(), key=lambda item: (-item[1], item[0]))[:GROUPS]
    ]
    return summary


def _read_log(path: str) -> pa.Table:
    if not storage.exists(path):
        raise UserError(f"{path} is missing: run the corpus step again, it writes the drop log anew")
    try:
        with storage.open_binary(path) as file:
            # Without threads: pyarrow's may still run when the command ends, and then end it with an abort.
            return parquet.ParquetFile(file).read(use_threads=False)
    except pa.ArrowInvalid as fault:
        raise UserError(f"{path} is damaged ({fault}): remove it and run the corpus step again") from fault


def _by_rule(log: pa.Table) -> Iterator[tuple[str, str, pa.Table]]:
    pairs = log.select(["stage", "rule"]).group_by(["stage", "rule"]).aggregate([]).to_pylist()
    for pair in sorted(pairs, key=lambda pair: (pair["stage"], pair["rule"])):
        mask = compute.and_(compute.equal(log["stage"], pair["stage"]), compute.equal(log["rule"], pair["rule"]))
        yield pair["stage"], pair["rule"], log.filter(mask)


def _spread_rows(rows: pa.Table, count: int) -> list[DroppedDocument]:
    places = _spread(range(rows.num_rows), count)
    return [DroppedDocument(**row) for row in rows.select(_SHOWN_COLUMNS).take(pa.array(places)).to_pylist()]


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _count_duplicates(
    stage: str, rows: pa.Table, groups: Counter[tuple[str, str]], excerpts: dict[tuple[str, str], str]
) -> None:
    """Add a rule's duplicates to their groups; rules that name no kept document add nothing."""
    duplicates = rows.filter(compute.is_valid(rows["kept_id"])).select(["kept_id", "excerpt"])
    grouped = duplicates.group_by("kept_id", use_threads=False)
    for row in grouped.aggregate([("excerpt", "first"), ("excerpt", "count")]).to_pylist():
        kept_id, excerpt, count = row["kept_id"], row["excerpt_first"], row["excerpt_count"]
        groups[stage, kept_id] += count
        excerpts.setdefault((stage, kept_id), excerpt)
