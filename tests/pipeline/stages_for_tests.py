"""Small stages with known behaviour, importable by Ray's workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from pipeline.shard import StageDirectory, fingerprint
from pipeline.stage import DocumentStage, Drops, Outcome, Position, Runner, SurveyStage, Task


class DropLong(DocumentStage):
    """Drops texts longer than `longest` characters."""

    name: ClassVar[str] = "drop_long"
    longest: int = 20

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        drops = Drops()
        for row, text in enumerate(documents["text"].to_pylist()):
            if len(text) > self.longest:
                drops.add(row, "characters_max", len(text), self.longest)
        return Outcome(documents, drops)


class Shout(DocumentStage):
    """Writes texts in capitals."""

    name: ClassVar[str] = "shout"

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        texts = [text.upper() for text in documents["text"].to_pylist()]
        column = documents.schema.get_field_index("text")
        return Outcome(
            documents.set_column(column, documents.schema.field("text"), pa.array(texts, pa.string())),
            counts={"shouted": len(texts)},
        )


class Brittle(DocumentStage):
    """Raises on texts that contain the word `poison`."""

    name: ClassVar[str] = "brittle"

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        if any("poison" in text for text in documents["text"].to_pylist()):
            raise RuntimeError("cannot digest this")
        return Outcome(documents)


class KillOnce(DocumentStage):
    """Kills its own process the first time it sees a document; slow, so that others can be killed meanwhile."""

    name: ClassVar[str] = "kill_once"
    marker: str
    seconds: float = 0.0

    def fingerprint(self) -> str:
        return "kill-once"

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        if documents.num_rows:
            time.sleep(self.seconds)
            marker = Path(self.marker)
            if self.marker and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(documents)


class DropRareLengths(SurveyStage):
    """Drops texts whose length occurs only once in the whole corpus."""

    name: ClassVar[str] = "drop_rare_lengths"

    def survey(self, corpus: StageDirectory, directory: str, runner: Runner) -> DocumentStage:
        tasks = [
            Task(shard.name, count_lengths, {"path": corpus.path(shard)}, fingerprint(shard.sha256))
            for shard in corpus.shards
        ]
        lengths = [length for record in runner.map(directory, "lengths", tasks) for length in record["lengths"]]
        return KeepLengths(lengths=sorted({length for length in lengths if lengths.count(length) > 1}))


class KeepLengths(DocumentStage):
    """Keeps texts of certain lengths."""

    name: ClassVar[str] = "drop_rare_lengths"
    lengths: list[int]

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        drops = Drops()
        for row, text in enumerate(documents["text"].to_pylist()):
            if len(text) not in self.lengths:
                drops.add(row, "rare_length", len(text))
        return Outcome(documents, drops)


def count_lengths(path: str) -> dict[str, object]:
    """The lengths of a shard's texts."""
    from pipeline.shard import open_table

    return {"lengths": [len(text) for text in open_table(path)["text"].to_pylist()]}


def fail_with(kind: str, marker: str) -> dict[str, object]:
    """A task that fails in a chosen way; leaves one line in `marker` for each attempt."""
    with Path(marker).open("a") as file:
        file.write("x\n")
    if kind == "value":
        raise ValueError("bad value in record 7")
    if kind == "hiccup" and len(Path(marker).read_text().splitlines()) < 3:
        raise ConnectionError("connection reset")
    return {"kind": kind}
