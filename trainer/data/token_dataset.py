"""Reads the token dataset that the pipeline writes: memory-mapped, O(1) by row number, on disk or in an object store.

Everything that could make training silently wrong is checked: format version, tokenizer, column types, rows of every
shard against the manifest, and each shard's SHA-256. Files of this machine are checked at opening and hashed once:
size and modification time of the shards that passed are kept beside the run, and only files that differ from them are
read again. Shards of an object store are fetched and checked when one of their rows is asked for the first time
(`trainer.data.shard_cache`).

Memory: the batch, and the pages that it touches.
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
from trainer.data.batch import Batch, TextPart, TrainingData
from trainer.data.shard_cache import ShardCache
from trainer.data.shards import IntArray, MappedShard, OpenShards

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

    def rows(self, split: str, cache: ShardCache | None = None, with_documents: bool = True) -> "TokenRows":
        """The rows of a split; arguments as `TokenRows`."""
        return TokenRows(self, split, cache, with_documents)


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
    """One split: rows of context_length + 1 token ids; what stands behind a row's last document does not count.

    Args:
        dataset: Where the split is.
        split: Its name.
        cache: Needed where the dataset lies in an object store.
        with_documents: Number the documents of each row (`Batch.segments`); a third of the time of a batch.

    Raises:
        UserError: a shard is missing or is not what the manifest says.
    """

    def __init__(
        self, dataset: TokenDataset, split: str, cache: ShardCache | None = None, with_documents: bool = True
    ) -> None:
        entry = dataset.split(split)
        self.context_length = dataset.context_length
        self.text_bytes: int | None = entry["text_bytes"]
        self.is_padded = bool(entry["padding_tokens"])
        self._with_documents = with_documents or self.is_padded  # what is padding follows from the documents
        self._dataset, self._shards, self._cache = dataset, entry["shards"], cache
        self._starts = np.cumsum([0, *(shard["rows"] for shard in self._shards)])
        self._open = OpenShards({}, self._starts)
        self._lock = Lock()
        self.rows = int(self._starts[-1])
        """Rows of the split."""
        self.target_tokens = int(entry["target_tokens"])
        """Targets of the split that count."""
        self.text_parts = _text_parts(dataset.manifest, entry)
        """See `RowSource.text_parts`: the sources by their number in `Row.sources`, where there are several."""
        if storage.is_local(dataset.url):
            opened = {number: self._opened(shard) for number, shard in enumerate(self._shards)}
            self._open = OpenShards(opened, self._starts)
        elif cache is None:
            raise UserError(f"{dataset.url} lies in an object store: it is read through a cache, give one")
        if self.rows != entry["rows"] or self.rows == 0:
            raise UserError(f"{dataset.name}: {self.rows} rows in the shards, {entry['rows']} in the split")

    def arranged(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rows as they are: all are of one length."""
        return rows

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """The rows of these numbers; the targets are the inputs one token later, and all but padding count."""
        numbers = np.ascontiguousarray(rows, np.int64)
        tokens = np.empty((len(numbers), self.context_length + 1), np.int64)
        segments = np.empty((len(numbers) if self._with_documents else 0, self.context_length), np.int32)
        used = np.empty(len(numbers), np.int64)
        self._with(numbers).gather(numbers, tokens, segments, used)
        mask = np.arange(self.context_length) < used[:, None] if self.is_padded else None
        return Batch(
            inputs=tokens[:, :-1], targets=tokens[:, 1:], mask=mask, segments=segments if self._with_documents else None
        )

    def text_parts_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """See `RowSource.text_parts_of`; row by row, for validation."""
        found = np.full((len(rows), self.context_length), -1, np.int64)
        for place, number in enumerate(rows.tolist()):
            row = self.row(number)
            sources = row.sources if self.text_parts else np.zeros_like(row.sources)
            found[place, : row.ends[-1]] = np.repeat(sources, np.diff(row.ends, prepend=0))
        return found

    def row(self, number: int) -> Row:
        """One row with its documents."""
        require_rows(np.array([number]), self.rows)
        block, place = self._with(np.array([number], np.int64)).find(number)
        bounds = slice(*block.ends.offsets[place : place + 2].tolist())
        of_sources = slice(*block.sources.offsets[place : place + 2].tolist())
        tokens, ends, sources = block.tokens[place], block.ends.values[bounds], block.sources.values[of_sources]
        return Row(tokens.astype(np.int64), ends.astype(np.int64), sources.astype(np.int64))

    def rows_of_source(self, source: int) -> Iterator[int]:
        """Numbers of the rows that hold something of a source, ascending; reads shard by shard."""
        for number, first in enumerate(self._starts[:-1].tolist()):
            start = first
            for block in self._with(self._starts[number : number + 1]).shards[number].blocks:
                lists = block.sources
                bounds = np.flatnonzero(lists.values[lists.offsets[0] : lists.offsets[-1]] == source)
                rows = np.searchsorted(lists.offsets, bounds + lists.offsets[0], side="right") - 1
                yield from (start + np.unique(rows)).tolist()
                start += len(block.tokens)

    def file_of(self, number: int) -> tuple[str, int]:
        """The shard that a row is in, as the manifest names it, and the row's number there."""
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._shards[shard]["file"], number - int(self._starts[shard])

    def _with(self, rows: IntArray) -> OpenShards:
        """Open shards, those of the rows among them."""
        if self._cache is None or storage.is_local(self._dataset.url):
            return self._open
        require_rows(rows, self.rows)
        wanted = np.unique(np.searchsorted(self._starts, rows, side="right") - 1).tolist()
        with self._lock:  # the loop and the thread that reads ahead of it
            missing = [number for number in wanted if number not in self._open.shards]
            if missing:
                fetched = {number: self._opened(self._shards[number]) for number in missing}
                # What the cache has removed meanwhile is let go, but for what this batch needs.
                kept = {at: shard for at, shard in self._open.shards.items() if at in wanted or shard.path.exists()}
                self._open = OpenShards(kept | fetched, self._starts)
            return self._open

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


def _text_parts(manifest: dict[str, Any], split: dict[str, Any]) -> tuple[TextPart, ...]:
    """What a manifest says of the sources of a split; empty where it has fewer than two."""
    amounts = split.get("sources", {})
    if len(amounts) < 2:
        return ()
    nothing = {"tokens": 0, "text_bytes": 0}
    found = [(name, amounts.get(name, nothing)) for name in manifest["sources"]]
    return tuple(TextPart((name,), int(amount["tokens"]), int(amount["text_bytes"])) for name, amount in found)


def require_rows(rows: IntArray, count: int) -> None:
    """Raises IndexError when one of these is no number of `count` rows."""
    wrong = (rows < 0) | (rows >= count)
    if wrong.any():
        raise IndexError(f"row {rows[wrong][0]} of {count}")


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
                f"{path} does not have the sha256 that {MANIFEST} gives, it is damaged: remove it and make the tokens "
                "again"
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
