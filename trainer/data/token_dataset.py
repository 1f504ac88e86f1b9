"""Reads the token dataset that the pipeline writes: memory-mapped, O(1) by row number, on disk or in an object store.

Everything that could make training silently wrong is checked: format version, tokenizer, column types, rows of every
shard against the manifest, and each shard's SHA-256. Files of this machine are checked at opening and hashed once:
size and modification time of the shards that passed are kept beside the run, and only files that differ from them are
read again. Shards of an object store are fetched and checked when one of their rows is asked for the first time
(`trainer.data.shard_cache`).

A batch is put together in the order of the file, so that pages are touched in ascending order, and for each shard at
once. Memory: the batch.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.errors import UserError
from trainer.data.batch import Batch, TrainingData
from trainer.data.shard_cache import ShardCache
from trainer.data.shards import ENDS, SOURCES, MappedShard

FORMAT_VERSION = 2
MANIFEST = "tokens.json"
TRAIN = "train"
VALIDATION = "validation"
TOKENS_OF_A_RUN = "tokens"


@dataclass(frozen=True)
class TokenDataset:
    """A dataset whose manifest was read; no shard was opened yet."""

    url: str
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the manifest, for messages."""
        return storage.join(self.url, MANIFEST)

    @property
    def context_length(self) -> int:
        """Tokens of a row that are predicted."""
        return int(self.manifest["context_length"])

    @property
    def fingerprint(self) -> str:
        """Changes with any row."""
        return str(self.manifest["fingerprint"])

    def split(self, name: str) -> dict[str, Any]:
        """What the manifest says of a split."""
        split: dict[str, Any] = self.manifest["splits"][name]
        return split

    def shards(self) -> list[dict[str, Any]]:
        """Of both splits, as the manifest lists them."""
        return [shard for split in (TRAIN, VALIDATION) for shard in self.split(split)["shards"]]

    def rows(self, split: str, cache: ShardCache | None = None) -> "TokenRows":
        """The rows of a split; `cache` is needed where the dataset lies in an object store."""
        return TokenRows(self, split, cache)


@dataclass(frozen=True)
class Row:
    """One row as it is stored."""

    ids: npt.NDArray[np.int64]
    """int64[context_length + 1]"""
    ends: npt.NDArray[np.int64]
    """int64[documents]: target position at which each document ends."""
    sources: npt.NDArray[np.int64]
    """int64[documents]: index into the manifest's sources."""


def find_dataset(place: str) -> TokenDataset:
    """The token dataset in a folder or URL, or of the run that is there.

    Raises:
        UserError: there is none, it is unfinished, or it is of another format version.
    """
    url = storage.absolute(place)
    for folder in (url, storage.join(url, TOKENS_OF_A_RUN)):
        if storage.exists(storage.join(folder, MANIFEST)):
            return TokenDataset(folder, _read_manifest(storage.join(folder, MANIFEST)))
    raise UserError(
        f"{storage.join(url, MANIFEST)} does not exist: the token dataset was not finished; run the tokens step"
    )


def open_token_dataset(
    directory: Path | str, tokenizer: Path, verified: Path | None = None, cache: ShardCache | None = None
) -> TrainingData:
    """Both splits of a token dataset, checked.

    Args:
        directory: Folder or URL of the dataset, or of a run that has one.
        tokenizer: The tokenizer.json that the run will keep beside its weights.
        verified: A file that remembers which shards passed their checksum.
        cache: Where shards of an object store are kept.

    Raises:
        UserError: names the file that is missing, broken or does not match.
    """
    dataset = find_dataset(str(directory))
    fingerprint = tokenizer_fingerprint(tokenizer)
    require_tokenizer(dataset, tokenizer, fingerprint)
    verify_checksums([dataset], verified)
    return TrainingData(
        train=dataset.rows(TRAIN, cache),
        validation=dataset.rows(VALIDATION, cache),
        fingerprint=dataset.fingerprint,
        tokenizer_fingerprint=fingerprint,
        context_length=dataset.context_length,
        vocab_size=dataset.manifest["vocab_size"],
    )


class TokenRows:
    """One split: rows of context_length + 1 token ids; what stands behind a row's last document does not count."""

    def __init__(self, dataset: TokenDataset, split: str, cache: ShardCache | None = None) -> None:
        entry = dataset.split(split)
        self.context_length = dataset.context_length
        self.text_bytes: int | None = entry["text_bytes"]
        self.is_padded = bool(entry["padding_tokens"])
        self._dataset, self._shards, self._cache = dataset, entry["shards"], cache
        self._starts = np.cumsum([0, *(shard["rows"] for shard in self._shards)])
        self._open: dict[int, MappedShard] = {}
        self._lock = Lock()
        self.rows = int(self._starts[-1])
        """Rows of the split."""
        if storage.is_local(dataset.url):
            for number in range(len(self._shards)):
                self._shard(number)
        elif cache is None:
            raise UserError(f"{dataset.url} lies in an object store: it is read through a cache, give one")
        if self.rows != entry["rows"] or self.rows == 0:
            raise UserError(f"{dataset.name}: {self.rows} rows in the shards, {entry['rows']} in the split")

    def arranged(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rows as they are: all are of one length."""
        return rows

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """The rows of these numbers; the targets are the inputs one token later, and all but padding count."""
        numbers = np.asarray(rows, np.int64)
        length = self.context_length
        tokens = np.empty((len(numbers), length + 1), np.int64)
        # True where a document begins; one place more than there are targets, for those that end with the row.
        begins = np.zeros((len(numbers), length + 1), np.bool_)
        mask = np.zeros((len(numbers), length), np.bool_) if self.is_padded else None
        for shard, local, places in self._parts(numbers):
            shard.gather(local, places, tokens)
            ends = shard.lists(ENDS, local)
            begins[np.repeat(places, ends.counts), ends.values] = True
            if mask is not None:
                used = ends.values[np.cumsum(ends.counts) - 1]
                mask[places] = np.arange(length) < used[:, None]
        segments = np.cumsum(begins[:, :-1], axis=1, dtype=np.int32)
        return Batch(inputs=tokens[:, :-1], targets=tokens[:, 1:], mask=mask, segments=segments)

    def row(self, number: int) -> Row:
        """One row with its documents."""
        ((shard, local, places),) = self._parts(np.array([number], np.int64))
        tokens = np.empty((1, self.context_length + 1), np.int64)
        shard.gather(local, places, tokens)
        ends, sources = (shard.lists(name, local).values.astype(np.int64) for name in (ENDS, SOURCES))
        return Row(tokens[0], ends, sources)

    def rows_of_source(self, source: int) -> Iterator[int]:
        """Numbers of the rows that hold something of a source, ascending; reads shard by shard."""
        for number, start in enumerate(self._starts[:-1].tolist()):
            shard = self._shard(number)
            found = shard.lists(SOURCES, np.arange(self._shards[number]["rows"]))
            rows = np.repeat(np.arange(len(found.counts)), found.counts)
            yield from (start + np.unique(rows[found.values == source])).tolist()

    def file_of(self, number: int) -> tuple[str, int]:
        """The shard that a row is in, as the manifest names it, and the row's number there."""
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._shards[shard]["file"], number - int(self._starts[shard])

    def _parts(
        self, rows: npt.NDArray[np.int64]
    ) -> Iterator[tuple[MappedShard, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Each shard that is asked of: rows within it, ascending, and where in the batch each of them goes."""
        wrong = (rows < 0) | (rows >= self.rows)
        if wrong.any():
            raise IndexError(f"row {rows[wrong][0]} of {self.rows}")
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        bounds = np.searchsorted(ascending, self._starts)
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            part = slice(bounds[number], bounds[number + 1])
            yield self._shard(number), ascending[part] - self._starts[number], order[part]

    def _shard(self, number: int) -> MappedShard:
        with self._lock:  # the loop and the thread that reads ahead of it
            if number not in self._open:
                opened = self._opened(self._shards[number])
                if self._cache is not None:
                    self._open = {at: shard for at, shard in self._open.items() if shard.path.exists()}
                self._open[number] = opened
            return self._open[number]

    def _opened(self, shard: dict[str, Any]) -> MappedShard:
        dataset = self._dataset
        url = storage.join(dataset.url, shard["file"])
        fields = (shard["rows"], self.context_length, dataset.manifest["dtype"], MANIFEST)
        if storage.is_local(dataset.url):
            return MappedShard(storage.local_path(url), *fields)
        assert self._cache is not None
        while True:
            path = self._cache.file(url, shard["sha256"])
            try:
                return MappedShard(path, *fields)
            except UserError:
                if path.exists():
                    raise  # otherwise another process made room, just now: fetch it again


def tokenizer_fingerprint(tokenizer: Path) -> str:
    """SHA-256 of a tokenizer.json; raises UserError when it is not there."""
    if not tokenizer.exists():
        raise UserError(f"{tokenizer} does not exist: run the tokenizer step")
    return storage.sha256_of(str(tokenizer))


def require_tokenizer(dataset: TokenDataset, tokenizer: Path, fingerprint: str) -> None:
    """Raises UserError when the tokens were made with another tokenizer than the one of this SHA-256."""
    made_with = dataset.manifest["tokenizer_fingerprint"]
    if made_with != fingerprint:
        raise UserError(
            f"{dataset.name}: the tokens were made with another tokenizer than {tokenizer} "
            f"(sha256 {made_with[:12]} and {fingerprint[:12]}): make the tokens again"
        )


def verify_checksums(datasets: Sequence[TokenDataset], verified: Path | None) -> None:
    """Hash the shards of all datasets on this machine's file systems, but those that passed before.

    Raises:
        UserError: a shard is missing or was changed.
    """
    known: dict[str, Any] = {}
    if verified is not None and verified.exists():
        known = json.loads(verified.read_text(encoding="utf-8"))
    passed: dict[str, Any] = {}
    local = [dataset for dataset in datasets if storage.is_local(dataset.url)]
    for path, shard in ((storage.join(entry.url, item["file"]), item) for entry in local for item in entry.shards()):
        if not storage.exists(path):
            raise UserError(f"{path} does not exist, but {MANIFEST} lists it: make the tokens again")
        stamp = f"{storage.stamp_of(path)}-{shard['sha256']}"
        if known.get(path) != stamp and storage.sha256_of(path) != shard["sha256"]:
            raise UserError(
                f"{path} does not have the sha256 that {MANIFEST} gives: it is damaged, make the tokens again"
            )
        passed[path] = stamp
    if verified is not None and passed != known:
        storage.write_json(str(verified), passed)


def _read_manifest(path: str) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(storage.read_bytes(path))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): make the tokens again") from None
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, this version reads {FORMAT_VERSION}: make the tokens again"
        )
    return manifest
