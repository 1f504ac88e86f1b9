"""What a stage is: a pydantic model whose fields are its YAML keys and whose method is its work.

A `DocumentStage` looks at a batch of documents and says which to drop, why, and what to change; it never removes a
row itself, so no document can vanish without a reason. Stages between two barriers run fused: one read, one write.

A `SurveyStage` (deduplication, perplexity percentiles) must first see the whole corpus. Its `survey` runs tasks over
all shards and returns a `DocumentStage` that decides about each document; that one is fused with the stages after
it. So a barrier costs one extra read and no format of its own.

A batch is a `pyarrow.Table` of `pipeline.shard.DOCUMENT_SCHEMA` plus columns of earlier stages. Stages must accept
an empty batch (it tells the output schema).
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.arrays import arrow_array, number_array, repeated_text, text_array
from pipeline.settings import Settings
from pipeline.shard import StageDirectory, fingerprint

EXCERPT_CHARACTERS = 160
EXAMPLES = 5
"""Examples that are kept of each thing a stage shows in the report."""


@dataclass(frozen=True)
class Position:
    """Where a batch stands in the input of the pass: needed by stages that decided by row beforehand."""

    shard: int
    """Index of the input shard."""
    first_row: int
    """Row of the batch's first document in the input shard, before this pass dropped anything."""


Reason = tuple[str, str | None, str | None, str | None, float | None]
"""Rule, measured value, threshold, id of the document kept instead, similarity to it."""
REASON_COLUMNS = ("rule", "value", "threshold", "kept_id", "similarity")


class Drops:
    """Which rows of a batch to drop, with rule, measured value and threshold; a row keeps its first reason."""

    def __init__(self) -> None:
        self._reasons: dict[int, Reason] = {}
        self._excerpts: dict[int, str] = {}
        self._many: tuple[np.ndarray, tuple[pa.Array, ...]] | None = None
        """Rows, ascending, and the columns of their reasons: instead of `_reasons`, until something else is asked."""

    def add(
        self,
        row: int,
        rule: str,
        value: float | int | str | None = None,
        threshold: float | int | str | None = None,
        *,
        kept_id: str | None = None,
        similarity: float | None = None,
        excerpt: str | None = None,
    ) -> None:
        """Drop one row of the batch; `excerpt` stands in the drop log instead of the beginning of its text."""
        self._single().setdefault(row, (rule, _shown(value), _shown(threshold), kept_id, similarity))
        if excerpt is not None:
            self._excerpts.setdefault(row, excerpt)

    def add_twins(
        self, rows: np.ndarray, rules: Sequence[str], similarities: np.ndarray, threshold: float, kept_ids: pa.Array
    ) -> None:
        """As `add` for many rows at once: documents that have a twin, to which their similarity is the measured value.

        Args:
            rows: int64 [rows].
            rules: Rule of each.
            similarities: float64 [rows].
            threshold: Of the similarity.
            kept_ids: Of the documents kept instead, string [rows].
        """
        shown = text_array([format(value, ".6g") for value in similarities.tolist()])
        limit = repeated_text(format(threshold, ".6g"), len(rows))
        columns = (text_array(rules), shown, limit, kept_ids, arrow_array(similarities))
        if not len(self) and (np.diff(rows) > 0).all():
            self._many = rows, columns
            return
        reasons = self._single()
        for row, reason in _reasons_of(rows, columns):
            reasons.setdefault(row, reason)

    def where(self, mask: np.ndarray, rule: str, values: Sequence[Any] | np.ndarray, threshold: Any) -> None:
        """Drop every row whose mask is true; `values` holds the measured value of each row of the batch."""
        for row in np.flatnonzero(mask):
            self.add(int(row), rule, values[int(row)], threshold)

    def extend(self, other: Drops, first_row: int) -> None:
        """Take over the drops of a part of the batch that begins at `first_row`."""
        reasons = self._single()
        for row, reason in other.items():
            reasons.setdefault(first_row + row, reason)
        for row, excerpt in other._excerpts.items():
            self._excerpts.setdefault(first_row + row, excerpt)

    def __len__(self) -> int:
        return len(self._reasons) if self._many is None else len(self._many[0])

    def __contains__(self, row: int) -> bool:
        return row in self._single()

    def items(self) -> Iterable[tuple[int, Reason]]:
        """Rows in ascending order with (rule, value, threshold, kept_id, similarity)."""
        return sorted(self._single().items())

    def columns(self) -> tuple[np.ndarray, dict[str, pa.Array]]:
        """As `items`: the rows, int64, and the columns `REASON_COLUMNS`."""
        if self._many is not None:
            return self._many[0], dict(zip(REASON_COLUMNS, self._many[1], strict=True))
        items = list(self.items())
        *texts, similarities = zip(*(reason for _, reason in items), strict=True) if items else [()] * 5
        arrays = [*map(text_array, texts), number_array(similarities)]
        return np.array([row for row, _ in items], np.int64), dict(zip(REASON_COLUMNS, arrays, strict=True))

    def excerpt(self, row: int) -> str | None:
        """What the drop log shows of the row instead of the beginning of its text, if anything."""
        return self._excerpts.get(row)

    def _single(self) -> dict[int, Reason]:
        if self._many is not None:
            self._reasons = dict(_reasons_of(*self._many))
            self._many = None
        return self._reasons


def _reasons_of(rows: np.ndarray, columns: Iterable[pa.Array]) -> Iterator[tuple[int, Reason]]:
    return zip(rows.tolist(), zip(*(column.to_pylist() for column in columns), strict=True), strict=True)


def _shown(value: float | int | str | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int | np.integer):
        return str(int(value))
    return format(float(value), ".6g")


@dataclass
class Outcome:
    """What a stage says of a batch."""

    documents: pa.Table
    """The same rows in the same order; columns may be added and text rewritten."""
    drops: Drops = field(default_factory=Drops)
    counts: dict[str, int] = field(default_factory=dict)
    """Further things worth counting, summed over the corpus (e-mail addresses replaced, ...)."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """What the report shows of them: for each thing counted at most `EXAMPLES` different texts, the first ones in the
    order of the rows. They must hold nothing that may not be published."""

    @staticmethod
    def joined(outcomes: Sequence[Outcome]) -> Outcome:
        """The outcome of consecutive parts of a batch as one."""
        drops, counts = Drops(), Counter[str]()
        examples: dict[str, list[str]] = {}
        first_row = 0
        for outcome in outcomes:
            drops.extend(outcome.drops, first_row)
            counts.update(outcome.counts)
            add_examples(examples, outcome.examples)
            first_row += outcome.documents.num_rows
        return Outcome(pa.concat_tables([outcome.documents for outcome in outcomes]), drops, dict(counts), examples)


def add_examples(known: dict[str, list[str]], further: Mapping[str, Sequence[str]]) -> None:
    """Take over examples of what comes later: those that are new, up to `EXAMPLES` of each thing."""
    for name, texts in further.items():
        kept = known.setdefault(name, [])
        kept += [text for text in dict.fromkeys(texts) if text not in kept][: EXAMPLES - len(kept)]


class Stage(Settings):
    """One item of the recipe's `stages`."""

    name: ClassVar[str]
    """The key in the recipe."""
    version: ClassVar[int] = 1
    """Raised with every change of the code that changes its output: finished shards are then done again."""
    kernels: ClassVar[tuple[str, ...]] = ()
    """Modules of `pipeline.kernels` whose compiled functions the stage calls."""

    def fingerprint(self) -> str:
        """Hash of all that decides the stage's output: name, code, fields, files and models."""
        return fingerprint(
            self.name,
            code_version(type(self)),
            self.model_dump(mode="json"),
            [storage.sha256_of(path) for path in self.files()],
            self.resources(),
        )

    def files(self) -> list[str]:
        """Files of the user that the fields name: checked for existence before any work starts."""
        return []

    def resources(self) -> str | None:
        """Identity of models outside the recipe (sha256 of a shipped model file), part of the fingerprint."""
        return None

    def plan_lines(self, text_bytes: int, shards: int | None = None) -> list[str]:
        """What `--dry-run` says of the stage for so much text in so many shards: costs, and what the settings mean."""
        return []


def code_version(stage: type[Stage]) -> str:
    """What stands for the code of a stage in fingerprints.

    Our own stages carry a number that we raise with every change of their output, so that an upgrade redoes only
    what it changed. For a stage in a user's file nobody keeps such a number: there it is a hash of the module's
    syntax tree, which comments and layout do not change.
    """
    if stage.__module__.split(".")[0] == "pipeline":
        return str(stage.version)
    source = inspect.getsource(sys.modules[stage.__module__])
    return f"{stage.version}-{hashlib.sha256(ast.dump(ast.parse(source)).encode()).hexdigest()}"


class DocumentStage(Stage, ABC):
    """A stage that judges each document by itself."""

    def barrier(self) -> SurveyStage | None:
        """The survey that must see the corpus before, for stages whose settings decide whether they need one.

        What it returns is applied instead of the stage itself.
        """
        return None

    @abstractmethod
    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Judge a batch. Models are loaded once a worker process (cache them at module level)."""


@dataclass(frozen=True)
class Task:
    """One unit of work with one record: done when its record exists and its fingerprint matches."""

    key: str
    """Name of the record, unique in its directory: `shard-00042`."""
    function: Callable[..., dict[str, Any]]
    """A module-level function; called as `function(**arguments)` in a worker; returns a JSON-able record.

    Files it writes appear atomically, and are listed in the record as `files: {name: sha256}` with names relative
    to the directory of the step, so that the engine can tell a finished task from a damaged one.
    """
    arguments: Mapping[str, Any]
    """Small, picklable; paths and settings, never tables."""
    inputs: str
    """Fingerprint of everything the result depends on: settings, code version, content of the inputs."""
    weight: int = 1
    """Expected work relative to the step's other tasks (input bytes), for progress and ETA."""
    kernels: tuple[str, ...] = ()
    """Modules of `pipeline.kernels` that the function calls; compiled before the first task of the step begins."""


class Runner(Protocol):
    """What the engine offers to a survey."""

    def map(self, directory: str, label: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """Run the tasks over the workers, skip those whose record is valid; records in the order of `tasks`.

        `directory` is where the records go (`<directory>/<key>.json`). Raises `ShardsFailed` when any task failed,
        after all others are done.
        """


class SurveyStage(Stage, ABC):
    """A stage that must see the whole corpus before it can judge a document."""

    @abstractmethod
    def survey(self, corpus: StageDirectory, directory: str, runner: Runner) -> DocumentStage:
        """Study the finished `corpus`, keep results below `directory`, return the stage that applies them.

        The returned stage's fields (paths, thresholds) and `resources()` must identify the result of the survey:
        its fingerprint decides whether finished shards of the following pass are still valid.
        """
