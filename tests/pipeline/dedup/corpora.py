"""Small corpora for the tests of deduplication, and what applying a decision to them leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline import storage
from pipeline.shard import (
    FORMAT_VERSION,
    MANIFEST,
    ArrowWriter,
    StageDirectory,
    documents_table,
    fingerprint,
    read_batches,
    shard_name,
)
from pipeline.stage import DocumentStage, Position, SurveyStage, Task
from tests.pipeline.runner import SerialRunner

Damage = Literal["missing", "truncated", "foreign"]
DAMAGES: tuple[Damage, ...] = get_args(Damage)


def write_corpus(directory: Path, shards: Sequence[Sequence[dict[str, Any] | str]]) -> StageDirectory:
    """A finished stage directory; a plain text becomes a document with an id made from its place."""
    entries = []
    for index, documents in enumerate(shards):
        rows = [
            {"id": f"{index}-{row}", "text": document, "source": "test"} if isinstance(document, str) else document
            for row, document in enumerate(documents)
        ]
        name = shard_name(index)
        with storage.write_atomically(str(directory / f"{name}.arrow")) as file:
            writer = ArrowWriter(file, documents_table([]).schema)
            # Several batches a shard, so that a batch does not begin at row 0.
            for begin in range(0, len(rows), 7):
                writer.write(documents_table(rows[begin : begin + 7]))
            sha256, size = writer.close()
        text_bytes = sum(len(row["text"].encode()) for row in rows)
        entries.append(
            {"name": name, "rows": len(rows), "text_bytes": text_bytes, "file_bytes": size, "sha256": sha256}
        )
    storage.write_json(
        str(directory / MANIFEST),
        {"format_version": FORMAT_VERSION, "fingerprint": fingerprint(entries), "shards": entries},
    )
    return StageDirectory(str(directory))


def apply_to(corpus: StageDirectory, stage: DocumentStage) -> dict[str, tuple[Any, ...]]:
    """What the stage drops: (rule, value, threshold, kept_id, similarity) by document id."""
    dropped = {}
    for index, shard in enumerate(corpus.shards):
        first_row = 0
        for batch in read_batches(corpus.path(shard)):
            outcome = stage.apply(batch, Position(index, first_row))
            assert outcome.documents.num_rows == batch.num_rows
            for row, reason in outcome.drops.items():
                dropped[batch["id"][row].as_py()] = reason
            first_row += batch.num_rows
    return dropped


def survey(
    tmp_path: Path,
    shards: Sequence[Sequence[dict[str, Any] | str]],
    stage: SurveyStage,
    runner: SerialRunner | None = None,
) -> tuple[StageDirectory, DocumentStage]:
    """A corpus of these shards, and what the stage decides of it."""
    corpus = write_corpus(tmp_path / "corpus", shards)
    return corpus, stage.survey(corpus, str(tmp_path / "survey"), runner or SerialRunner())


def applied(
    corpus: StageDirectory, stage: DocumentStage
) -> tuple[list[str], dict[str, tuple[Any, ...]], dict[str, int]]:
    """All texts as the stage leaves them, what it drops by id, what it counts."""
    texts: list[str] = []
    dropped: dict[str, tuple[Any, ...]] = {}
    counts: dict[str, int] = {}
    for index, shard in enumerate(corpus.shards):
        first_row = 0
        for batch in read_batches(corpus.path(shard)):
            outcome = stage.apply(batch, Position(index, first_row))
            assert outcome.documents.schema == batch.schema
            texts += outcome.documents["text"].to_pylist()
            dropped |= {batch["id"][row].as_py(): reason for row, reason in outcome.drops.items()}
            for name, count in outcome.counts.items():
                counts[name] = counts.get(name, 0) + count
            first_row += batch.num_rows
    return texts, dropped, counts


def left(tmp_path: Path, shards: Sequence[Sequence[dict[str, Any] | str]], stage: SurveyStage) -> list[str]:
    """All texts as the stage leaves them."""
    return applied(*survey(tmp_path, shards, stage))[0]


def damage_removals(tmp_path: Path, damage: Damage) -> None:
    """Take away or spoil the removals of the first shard in what `survey` wrote there; `foreign`: of the next shard."""
    path = tmp_path / "survey/removals/shard-00000.arrow"
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        path.write_bytes((tmp_path / "survey/removals/shard-00001.arrow").read_bytes())


class Careless(SerialRunner):
    """After the tasks with such a label, one of their files vanishes."""

    def __init__(self, label_end: str, file: str) -> None:
        super().__init__()
        self._label_end = label_end
        self._file = file

    def map(self, directory: str, label: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """See `pipeline.stage.Runner.map`."""
        records = super().map(directory, label, tasks)
        if label.endswith(self._label_end):
            Path(directory, self._file).unlink()
        return records


def output_of(directory: Path) -> dict[str, bytes]:
    """All artefacts of a survey by name, without the records."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*.arrow"))}
