"""Tells a document's whole way through the corpus: each pass it was seen in, and what dropped it, if anything did.

Follows the passes in order and stops where the document was dropped. Only ids are compared, of memory-mapped shards
and of drop logs; a document is looked for first in the shard that has the name of the one it was last seen in, where
it normally is. Cost: one look at the ids of the first pass, little afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow.compute as compute
import pyarrow.parquet as parquet

from pipeline import storage
from pipeline.corpus import CORPUS_MANIFEST
from pipeline.errors import UserError
from pipeline.shard import MANIFEST, Shard, StageDirectory, open_table
from pipeline.stage import EXCERPT_CHARACTERS


@dataclass(frozen=True)
class Sighting:
    """What one pass did with the document."""

    directory: str
    """Name of the pass's directory."""
    shard: str
    """Name of the shard."""
    stages: tuple[str, ...]
    """The stages of the pass, in order."""
    outcome: Literal["kept", "dropped"]
    text_bytes: int
    """UTF-8 bytes of the text: as it left the pass, or as it was when it was dropped."""
    excerpt: str
    """The beginning of that text."""
    changed: bool = False
    """Kept: whether the pass changed the text that it got from the pass before."""
    stage: str | None = None
    """Dropped: the stage that did it; the fields below are its reason."""
    rule: str | None = None
    value: str | None = None
    threshold: str | None = None
    kept_id: str | None = None
    similarity: float | None = None


def explain(corpus_directory: str, document_id: str) -> list[Sighting]:
    """The document's sightings, one for each pass, in order; the last one tells what became of it.

    Raises:
        UserError: there is no finished pass, or no pass knows the document.
    """
    sightings: list[Sighting] = []
    text: str | None = None
    for directory in _passes(corpus_directory):
        shards = sorted(directory.shards, key=lambda shard: bool(sightings) and shard.name != sightings[-1].shard)
        found = _find(directory, shards, document_id)
        if found is None:
            continue
        shard, row, kept = found
        if not kept:
            return [*sightings, _dropped(directory, shard, row)]
        sightings.append(_kept(directory, shard, row, text))
        text = row["text"]
    if not sightings:
        raise UserError(
            f"{corpus_directory} knows no document with the id {document_id!r}: ids are in the `id` column of the "
            "shards and drop logs; a record in quarantine has none"
        )
    return sightings


def _passes(corpus_directory: str) -> list[StageDirectory]:
    """The finished passes in order: those that the corpus lists, or while it is being built those that are there."""
    manifest = storage.join(corpus_directory, CORPUS_MANIFEST)
    if storage.exists(manifest):
        names = storage.read_json(manifest)["directories"]
    else:
        names = [
            name
            for name in storage.list_names(corpus_directory)
            if storage.exists(storage.join(corpus_directory, name, MANIFEST))
        ]
    if not names:
        raise UserError(f"{corpus_directory} holds no finished pass: run `gptmill corpus` first")
    return [StageDirectory(storage.join(corpus_directory, name)) for name in names]


def _find(
    directory: StageDirectory, shards: Sequence[Shard], document_id: str
) -> tuple[Shard, dict[str, Any], bool] | None:
    """The shard that knows the document, its row there or in the drop log, and whether it was kept."""
    for shard in shards:
        table = open_table(directory.path(shard))
        row = compute.index(table["id"], document_id).as_py()
        if row >= 0:
            return shard, table.slice(row, 1).to_pylist()[0], True
        with storage.open_binary(directory.dropped_path(shard)) as file:
            # Without threads: pyarrow's may still run when the command ends, and then end it with an abort.
            log = parquet.ParquetFile(file)
            row = compute.index(log.read(["id"], use_threads=False)["id"], document_id).as_py()
            if row >= 0:
                return shard, log.read(use_threads=False).slice(row, 1).to_pylist()[0], False
    return None


def _stages(directory: StageDirectory) -> tuple[str, ...]:
    return tuple(stage["name"] for stage in directory.manifest["stages"])


def _kept(directory: StageDirectory, shard: Shard, row: dict[str, Any], before: str | None) -> Sighting:
    return Sighting(
        directory=storage.name_of(directory.url),
        shard=shard.name,
        stages=_stages(directory),
        outcome="kept",
        text_bytes=len(row["text"].encode()),
        excerpt=row["text"][:EXCERPT_CHARACTERS],
        changed=before is not None and row["text"] != before,
    )


def _dropped(directory: StageDirectory, shard: Shard, row: dict[str, Any]) -> Sighting:
    return Sighting(
        directory=storage.name_of(directory.url),
        shard=shard.name,
        stages=_stages(directory),
        outcome="dropped",
        text_bytes=row["text_bytes"],
        excerpt=row["excerpt"],
        stage=row["stage"],
        rule=row["rule"],
        value=row["value"],
        threshold=row["threshold"],
        kept_id=row["kept_id"],
        similarity=row["similarity"],
    )
