"""What a source is: it plans slices of its input without reading it, and reads one slice as batches of documents.

A slice becomes one shard. Slices depend on the input's files and the recipe alone, never on the number of workers.
Reading streams: memory is bounded by a batch, not by a slice. A record that cannot be read goes to quarantine with
file, line and reason, and reading goes on; a file that cannot be read on (cut in the middle) raises `UserError`,
which fails its shard and no other. A record that is whole but not wanted (a request of a web archive, a document that
`weight` leaves out) is counted by its reason. So documents + quarantined + skipped = records, for every source.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson
import pyarrow as pa
from pydantic import Field

from pipeline.settings import Settings
from pipeline.shard import documents_table

BATCH_DOCUMENTS = 1024
BATCH_TEXT_BYTES = 8 << 20


@dataclass(frozen=True)
class Slice:
    """A part of a source's input that becomes one shard."""

    label: str
    """What a person would call it: a file name, `part 3 of web.jsonl`."""
    arguments: dict[str, Any]
    """What `read` needs to know; JSON-able."""
    stamp: str
    """Identity of the input's content, without reading it (size and time, ETag, package version)."""
    input_bytes: int
    """Size of the input as stored, for progress and plans."""


@dataclass
class Quarantine:
    """Records that did not become documents: broken ones with their place, unwanted ones by number."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """Records left out on purpose, by reason; they appear in the funnel's entry of reading."""

    def add(self, file: str, line: int | str, reason: str, excerpt: str = "") -> None:
        """Note a broken record: `line` is its line number or another name of its place in the file."""
        self.entries.append({"file": file, "line": line, "reason": reason, "excerpt": excerpt[:200]})

    def skip(self, reason: str) -> None:
        """Count a record that is whole but not wanted; `reason` is one of few (`skipped: status 404`)."""
        self.skipped[f"skipped: {reason}"] += 1


class Source(Settings, ABC):
    """One item of the recipe's `sources`."""

    kind: ClassVar[str]
    """The key in the recipe."""
    version: ClassVar[int] = 2
    """Raised with every change of the code that changes its output."""
    kernels: ClassVar[tuple[str, ...]] = ()
    """Modules of `pipeline.kernels` whose compiled functions reading calls."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Name of the source in documents and reports; the kind by default."""

    @property
    def label(self) -> str:
        """The name that documents carry in their `source` column."""
        return self.name or self.kind

    @abstractmethod
    def plan(self) -> list[Slice]:
        """The slices in order.

        Raises:
            UserError: nothing is there to read; names the path or pattern.
        """

    @abstractmethod
    def read(self, part: Slice, quarantine: Quarantine) -> Iterator[pa.Table]:
        """Batches of `DOCUMENT_SCHEMA` of one slice, in order."""


def batched(documents: Iterable[dict[str, Any]]) -> Iterator[pa.Table]:
    """Group documents into tables of bounded size (`BATCH_DOCUMENTS`, `BATCH_TEXT_BYTES`)."""
    batch: list[dict[str, Any]] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document["text"])
        if len(batch) >= BATCH_DOCUMENTS or size >= BATCH_TEXT_BYTES:
            yield documents_table(batch)
            batch, size = [], 0
    if batch:
        yield documents_table(batch)


def metadata_text(values: dict[str, Any]) -> str | None:
    """The `metadata` column of a document: a JSON object with sorted keys as text, null when there is nothing to say.

    Raises:
        ValueError: the values are nested too deep to be written.
    """
    if not values:
        return None
    try:
        return orjson.dumps(values, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # Integers beyond 64 bits and deep nesting, which orjson refuses.
        try:
            return json.dumps(values, sort_keys=True, ensure_ascii=False, default=str, separators=(",", ":"))
        except RecursionError as fault:
            raise ValueError("its other fields are nested too deep") from fault
