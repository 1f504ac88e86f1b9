"""Texts of an earlier corpus as hashes: a later crawl is compared with them without reading that corpus again.

`text_index` writes the index of the documents that reach it, `known_texts` drops documents whose text is in one. Texts
are equal as in `exact_dedup`: by xxh3 of 128 bits after the same normalisation.

Decisions: an index is a folder of one file a shard, sorted by hash, with a manifest that names each file, its rows and
the settings. What was made with other settings, lacks a file or was cut is refused: it never means "nothing known".

Cost: writing as hashing in `exact_dedup`; on disk 16 bytes and the id for each document; a process reads an index once
to check it, keeps it mapped (in memory where it lies on an object store) and searches each file by halving.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline import storage
from pipeline.dedup.exact import text_hashes
from pipeline.dedup.partitions import read_partition, write_partitions
from pipeline.dedup.phases import text_tasks
from pipeline.errors import SettingError
from pipeline.shard import StageDirectory, fingerprint, read_batches, shard_name
from pipeline.stage import DocumentStage, Drops, Outcome, Position, Runner, SurveyStage

MANIFEST = "text_index.json"
FORMAT = 1
_SCHEMA = pa.schema([("high", pa.uint64()), ("low", pa.uint64()), ("id", pa.string())])
_KERNELS = ("white_space",)


class TextIndex(SurveyStage):
    """Writes the hashes of the documents that reach it, for `known_texts` of a later run; drops nothing."""

    name = "text_index"

    path: str = Field(min_length=1)
    """Folder or URL of the index; one that is there is replaced."""
    ignore_whitespace: bool = True
    """Take every run of white space as one space, and none at the ends."""
    ignore_case: bool = False
    """Compare lower-cased texts."""

    def survey(self, corpus: StageDirectory, directory: str, runner: Runner) -> DocumentStage:
        """Write one file a shard, then the manifest."""
        settings = _settings(self.ignore_whitespace, self.ignore_case)
        content = f"text index {fingerprint(settings)}"
        path = storage.absolute(self.path)
        storage.remove(storage.join(path, MANIFEST))
        tasks = text_tasks(
            write_index, path, corpus, {"content": content, **settings}, (content, corpus.fingerprint), _KERNELS
        )
        records = runner.map(path, f"{self.name}: hashes", tasks)
        files = {name: sha256 for record in records for name, sha256 in record["files"].items()}
        manifest = {"format": FORMAT, "settings": settings, "content": content, "files": files}
        storage.write_json(storage.join(path, MANIFEST), manifest)
        return IndexWritten(result=fingerprint(files))


class IndexWritten(DocumentStage):
    """Passes every document on."""

    name = "text_index"

    result: str
    """Fingerprint of the index."""

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Nothing is changed."""
        return Outcome(documents)


class KnownTexts(DocumentStage):
    """Drop documents whose text an earlier corpus has: compared with indexes that `text_index` wrote."""

    name: ClassVar[str] = "known_texts"
    kernels: ClassVar[tuple[str, ...]] = _KERNELS

    against: tuple[str, ...] = Field(min_length=1)
    """Folders or URLs of indexes."""
    ignore_whitespace: bool = True
    """As the index was written."""
    ignore_case: bool = False
    """As the index was written."""

    def files(self) -> list[str]:
        """The manifests, which name the content of all files."""
        return [storage.join(storage.absolute(path), MANIFEST) for path in self.against]

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Drop what is known; the earlier document is named as the kept one."""
        drops = Drops()
        high, low = text_hashes(documents["text"], self.ignore_whitespace, self.ignore_case)
        for manifest in self.files():
            for table in _tables(manifest, fingerprint(_settings(self.ignore_whitespace, self.ignore_case))):
                for row, place in _known(high, low, table):
                    drops.add(row, "known_text", 1.0, 1.0, kept_id=table["id"][place].as_py(), similarity=1.0)
        return Outcome(documents, drops)


def write_index(
    directory: str, path: str, shard: int, content: str, ignore_whitespace: bool, ignore_case: bool
) -> dict[str, Any]:
    """Task: the sorted hashes of one shard."""
    parts = [_SCHEMA.empty_table()]
    for batch in read_batches(path):
        high, low = text_hashes(batch["text"], ignore_whitespace, ignore_case)
        parts.append(pa.table([pa.array(high), pa.array(low), batch["id"]], schema=_SCHEMA))
    table = pa.concat_tables(parts)
    table = table.take(pa.array(np.lexsort((table["low"].to_numpy(), table["high"].to_numpy()))))
    name = f"{shard_name(shard)}.arrow"
    sha256 = write_partitions(storage.join(directory, name), table, np.zeros(len(table), np.int64), 1, content)
    return {"files": {name: sha256}}


def _settings(ignore_whitespace: bool, ignore_case: bool) -> dict[str, bool]:
    return {"ignore_whitespace": ignore_whitespace, "ignore_case": ignore_case}


@cache
def _tables(manifest: str, settings: str) -> list[pa.Table]:
    """The files of an index, each checked once a process."""
    if not storage.exists(manifest):
        raise SettingError(f"against: there is no index {manifest}; write it with the stage `text_index`")
    about = storage.read_json(manifest)
    if about.get("format") != FORMAT:
        raise SettingError(f"against: {manifest} is of format {about.get('format')}, not {FORMAT}; write it again")
    if fingerprint(about["settings"]) != settings:
        raise SettingError(f"against: {manifest} was written with {about['settings']}; set the same in `known_texts`")
    folder = manifest.removesuffix(MANIFEST)
    tables = []
    for name, sha256 in about["files"].items():
        url = storage.join(folder, name)
        if not storage.exists(url) or storage.sha256_of(url) != sha256:
            raise SettingError(
                f"against: {url} is missing or damaged: remove it, if it is there, and run the recipe that wrote the "
                "index again"
            )
        tables.append(read_partition(url, 0, 1, about["content"], mapped=True))
    return tables


def _known(high: np.ndarray, low: np.ndarray, table: pa.Table) -> list[tuple[int, int]]:
    """Rows whose hash is in the table, and its place there."""
    highs, lows = table["high"].to_numpy(), table["low"].to_numpy()
    first, behind = np.searchsorted(highs, high), np.searchsorted(highs, high, side="right")
    found = []
    for row in np.flatnonzero(behind > first).tolist():
        places = np.flatnonzero(lows[first[row] : behind[row]] == low[row])
        if len(places):
            found.append((row, int(first[row] + places[0])))
    return found
