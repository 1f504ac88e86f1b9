"""Indexes of near-duplicates as they are read: several, one after the other, each refused if it cannot be trusted.

Decisions: settings are compared when an index is opened, files and code before anything is searched (`check_part`), so
that whoever searches need not doubt what he does not find. Files are read partition by partition, never as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.dedup.near_index import FOLDER, FORMAT, MANIFEST, IndexSettings
from pipeline.dedup.partitions import read_partition
from pipeline.errors import SettingError, UserError


def read_near_index(url: str, settings: IndexSettings) -> dict[str, Any]:
    """The manifest of an index.

    Raises:
        SettingError: there is none, or it was made by another version or with other settings; says which differ.
    """
    path = storage.join(url, MANIFEST)
    if not storage.exists(path):
        raise SettingError(f"against: there is no index {path}; write it with `write_index` of `minhash_dedup`")
    manifest: dict[str, Any] = storage.read_json(path)
    if manifest.get("format") != FORMAT:
        raise SettingError(f"against: {path} is of format {manifest.get('format')}, not {FORMAT}; write it again")
    wanted = asdict(settings)
    differing = [
        f"{name} {manifest['settings'].get(name)}, here {value}"
        for name, value in wanted.items()
        if manifest["settings"].get(name) != value
    ]
    if differing:
        raise SettingError(
            f"against: {path} was written with other settings ({'; '.join(differing)}): nothing would match; set the "
            "same here or write the index again"
        )
    return manifest


@dataclass(frozen=True)
class IndexFile:
    """The files of one shard of an index."""

    index: str
    name: str
    documents: int
    partitions: int
    files: dict[str, str]
    """Their sha256 by name."""

    def url(self, folder: str) -> str:
        """Where its file in `bands` or `entries` lies."""
        return storage.join(self.index, FOLDER, folder, f"{self.name}.arrow")


@dataclass(frozen=True)
class NearIndexes:
    """Indexes one after the other: their documents are numbered through all of them."""

    urls: tuple[str, ...]
    settings: IndexSettings

    @cached_property
    def manifests(self) -> list[dict[str, Any]]:
        """Of each index, in order; raises `SettingError` for one that is not there or of other settings."""
        return [read_near_index(url, self.settings) for url in self.urls]

    @cached_property
    def files(self) -> list[IndexFile]:
        """The files of all indexes, in order."""
        return [
            IndexFile(url, shard["name"], shard["documents"], manifest["partitions"], shard["files"])
            for url, manifest in zip(self.urls, self.manifests, strict=True)
            for shard in manifest["shards"]
        ]

    @cached_property
    def starts(self) -> np.ndarray:
        """Number of each file's first document, and at the end the number of all: int64[files + 1]."""
        return np.cumsum([0, *(file.documents for file in self.files)], dtype=np.int64)

    @property
    def documents(self) -> int:
        """Of all indexes."""
        return int(self.starts[-1])

    def parts(self, partition_keys: int) -> list[tuple[int, int]]:
        """Runs of files (first, behind) whose documents have at most so many keys together, or of one file."""
        most = max(1, partition_keys // self.settings.bands)
        bounds = [0]
        for file in range(1, len(self.files)):
            if self.starts[file + 1] - self.starts[bounds[-1]] > most:
                bounds.append(file)
        return list(pairwise([*bounds, len(self.files)]))

    def keys(self, partition: int, partitions: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys whose remainder by `partitions` (a power of two) is `partition`, and their documents' numbers."""
        keys, entries = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for file, first in zip(self.files, self.starts[:-1].tolist(), strict=True):
            # Of fewer partitions of ours, each is several of the file's; of more, a piece of one.
            batches = range(partition % file.partitions, file.partitions, min(partitions, file.partitions))
            for batch in batches:
                rows = read_partition(file.url("bands"), batch, file.partitions, self.settings.content)
                key = rows["key"].to_numpy()
                ours = key % np.uint64(partitions) == np.uint64(partition)
                keys.append(key[ours])
                entries.append(rows["entry"].to_numpy()[ours] + np.int64(first))
        return np.concatenate(keys), np.concatenate(entries)


def check_part(directory: str, content: str, indexes: NearIndexes, files: Sequence[int]) -> dict[str, Any]:
    """Task: make sure that the files of a part of the indexes are what their manifests say, and are as we make them."""
    probe = indexes.settings.probe()
    for url, manifest in zip(indexes.urls, indexes.manifests, strict=True):
        if manifest["probe"] != probe:
            raise UserError(f"against: {url} was written by a version with other hashes; write the index again")
    for file in indexes.files[slice(*files)]:
        for name, sha256 in file.files.items():
            url = storage.join(file.index, FOLDER, name)
            if not storage.exists(url) or storage.sha256_of(url) != sha256:
                raise UserError(
                    f"against: {url} is missing or is not what was written: remove it, if it is there, and run the "
                    "recipe that wrote the index again"
                )
    return {"files": {}}
