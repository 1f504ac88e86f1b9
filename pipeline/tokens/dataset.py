"""From encoded documents to the finished token dataset: packing tasks, checks, manifest.

Used for a corpus (`pipeline.tokens.write`) and for imported tokens (`pipeline.tokens.importing`). Order, names and
bytes depend on documents, tokenizer and settings alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import fingerprint, finished_manifest, write_dataset_files
from pipeline.stage import Runner, Task
from pipeline.tokenizer.load import load_tokenizer, token_bytes
from pipeline.tokens.baseline import gzip_bits_per_byte
from pipeline.tokens.buckets import leftovers_file, pack_bucket, pack_leftovers
from pipeline.tokens.format import (
    CODE_VERSION,
    ENCODED,
    FORMAT_VERSION,
    LEFTOVERS,
    MANIFEST,
    MAXIMUM_SOURCES,
    REST,
    SPLITS,
    TOKENIZER_COPY,
    TRAIN,
    VALIDATION,
    TokenizerFile,
    row_schema,
)
from pipeline.tokens.held_out import CLUSTERS
from pipeline.tokens.packing import KERNELS
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.shuffling import Shuffle, consecutive

_DATASET_DICT = "dataset_dict.json"
_OF_A_SPLIT = ("dataset_info.json", "state.json")
_BESIDE_SHARDS = (TOKENIZER_COPY, _DATASET_DICT, *(f"{split}/{file}" for split in SPLITS for file in _OF_A_SPLIT))
"""Files of a finished dataset without which it cannot be read, by us or by `datasets`."""
_WITHOUT_EFFECT = {"bucket_bytes"}
"""Settings that packing does not look at; what they do to the buckets is in the tasks' arguments."""


@dataclass(frozen=True)
class Bucket:
    """What one packing task reads."""

    split: str
    number: int
    shards: range
    """Indices of the encoded files."""
    partition: int
    """Which part of each of them."""

    @property
    def name(self) -> str:
        """Of its files, with their folder."""
        return f"{self.split}/shard-{self.number:05d}"


def finished_dataset(directory: str, wanted: str) -> dict[str, Any] | None:
    """The manifest of a dataset that is there in full and has the wanted fingerprint."""
    manifest = finished_manifest(storage.join(directory, MANIFEST), FORMAT_VERSION, wanted)
    if manifest is None:
        return None
    shards = [shard for split in manifest["splits"].values() for shard in split["shards"]]
    for shard in shards:
        file = storage.join(directory, shard["file"])
        if not storage.exists(file) or storage.size_of(file) != shard["file_bytes"]:
            return None
    if not all(storage.exists(storage.join(directory, file)) for file in _BESIDE_SHARDS):
        return None
    copy = storage.join(directory, TOKENIZER_COPY)
    return manifest if storage.sha256_of(copy) == manifest["tokenizer_fingerprint"] else None


def pack_documents(
    directory: str,
    label: str,
    names: Sequence[str],
    encoded: Sequence[dict[str, Any]],
    shuffle: Shuffle | None,
    settings: TokensSettings,
    tokenizer: TokenizerFile,
    runner: Runner,
    wanted: str,
    further: dict[str, Any],
) -> dict[str, Any]:
    """Pack encoded documents, write the manifest last and return it.

    Args:
        directory: Of the dataset.
        label: What the documents are from, for messages: `corpus/05-pii`.
        names: Of the encoded files, in order.
        encoded: The records of the tasks that wrote them.
        shuffle: How they were dealt out to buckets.
        settings: Of the step.
        tokenizer: The tokenizer behind the tokens.
        runner: Runs the packing tasks.
        wanted: Fingerprint of the dataset.
        further: Goes into the manifest as it is.

    Raises:
        UserError: there are no documents, or none on one side; a split is too short for one row.
        ShardsFailed: some buckets could not be packed; the others are kept.
    """
    if not any(record["documents"] for record in encoded):
        raise UserError(f"{label} holds no documents: look at what dropped them, there is nothing to train on")
    sources = sorted({name for record in encoded for name in record["sources"]})
    if len(sources) > MAXIMUM_SOURCES:
        raise UserError(f"{label} has {len(sources)} sources, a token dataset at most {MAXIMUM_SOURCES}: join some")
    place = {name: index for index, name in enumerate(sources)}
    local = [[place[name] for name in record["sources"]] for record in encoded]
    buckets = _buckets(encoded, shuffle, settings)
    partitions = sum(shuffle.buckets.values()) if shuffle else len(SPLITS)
    tasks = []
    filled = dict.fromkeys(SPLITS, 0)
    for bucket in buckets:
        at = bucket.number if shuffle else 0
        held = sum(encoded[shard]["splits"][bucket.split]["tokens"][at] for shard in bucket.shards)
        arguments = {
            "name": bucket.name,
            "sources": [local[shard] for shard in bucket.shards],
            "partition": bucket.partition,
            "partitions": partitions,
            "phase": filled[bucket.split] % settings.context_length,
            "settings": settings,
            "tokenizer": tokenizer,
        }
        files = [f"{names[shard]}.arrow" for shard in bucket.shards]
        folder = storage.join(directory, ENCODED)
        tasks.append(
            Task(
                key=bucket.name.replace("/", "-"),
                function=pack_bucket,
                arguments={
                    "directory": directory,
                    "files": [storage.join(folder, file) for file in files],
                    **arguments,
                },
                inputs=fingerprint(
                    _stamp(settings, tokenizer),
                    [arguments[key] for key in ("name", "sources", "partition", "partitions", "phase")],
                    [encoded[shard]["files"] for shard in bucket.shards],
                ),
                weight=max(1, held),
                kernels=KERNELS,
            )
        )
        filled[bucket.split] += held
    packed = runner.map(directory, "tokens: rows", tasks)
    leftovers = {split: dict[str, str]() for split in SPLITS}
    for bucket, record in zip(buckets, packed, strict=True):
        file = leftovers_file(bucket.name)
        leftovers[bucket.split][file] = record["files"][file]
    last = [
        Task(
            key=f"{split}-{REST}",
            function=pack_leftovers,
            arguments={
                "directory": directory,
                "name": f"{split}/{REST}",
                "leftovers": leftovers[split],
                "settings": settings,
                "tokenizer": tokenizer,
            },
            inputs=fingerprint(_stamp(settings, tokenizer), leftovers[split]),
            kernels=KERNELS,
        )
        for split in SPLITS
    ]
    rests = runner.map(directory, "tokens: last rows", last)
    splits = {}
    for split, rest in zip(SPLITS, rests, strict=True):
        parts = [record for bucket, record in zip(buckets, packed, strict=True) if bucket.split == split]
        splits[split] = _split(split, encoded, [*parts, rest])
    _require_rows(splits, settings, label)
    _write_dataset(directory, splits, settings, tokenizer, wanted)
    keys = [task.key for task in (*tasks, *last)]
    _remove_strays(directory, splits, names, keys, [file for files in leftovers.values() for file in files])
    manifest = {
        "format_version": FORMAT_VERSION,
        "context_length": settings.context_length,
        "dtype": tokenizer.dtype.name,
        "vocab_size": tokenizer.vocab_size,
        "tokenizer_fingerprint": tokenizer.sha256,
        "fingerprint": wanted,
        "end_of_text_id": tokenizer.end_of_text,
        "padding_id": tokenizer.padding,
        "special_tokens": tokenizer.special_tokens,
        "packing": settings.packing,
        "sources": sources,
        "settings": settings.model_dump(mode="json"),
        "splits": splits,
        "baselines": _baselines(directory, splits[VALIDATION], tokenizer),
        **further,
    }
    storage.write_json(storage.join(directory, MANIFEST), manifest)
    return manifest


def _stamp(settings: TokensSettings, tokenizer: TokenizerFile) -> list[Any]:
    fields = settings.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
    return [CODE_VERSION, fields, tokenizer.vocab_size, tokenizer.end_of_text, tokenizer.padding]


def _buckets(encoded: Sequence[dict[str, Any]], shuffle: Shuffle | None, settings: TokensSettings) -> list[Bucket]:
    if shuffle is None:
        groups = consecutive([record["text_bytes"] for record in encoded], settings.bucket_bytes)
        return [
            Bucket(split, number, shards, place)
            for place, split in enumerate(SPLITS)
            for number, shards in enumerate(groups)
        ]
    every = range(len(encoded))
    counts = [(split, number) for split in SPLITS for number in range(shuffle.buckets[split])]
    return [Bucket(split, number, every, place) for place, (split, number) in enumerate(counts)]


def _split(split: str, encoded: Sequence[dict[str, Any]], packed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `tokens.json` says of a split."""
    sources: dict[str, dict[str, int]] = {}
    for record in encoded:
        for source, entry in record["splits"][split]["sources"].items():
            total = sources.setdefault(source, dict.fromkeys(entry, 0))
            for key, value in entry.items():
                total[key] += value
    shards = [shard for record in packed for shard in record["shards"]]
    text_bytes = sum(entry["text_bytes"] for entry in sources.values()) - packed[-1]["lost_text_bytes"]
    return {
        "rows": sum(shard["rows"] for shard in shards),
        "target_tokens": sum(record["target_tokens"] for record in packed),
        "padding_tokens": sum(record["padding_tokens"] for record in packed),
        "lost_tokens": packed[-1]["lost_tokens"],
        "text_bytes": text_bytes,
        "documents": sum(entry["documents"] for entry in sources.values()),
        "sources": dict(sorted(sources.items())),
        "shards": shards,
    }


def _require_rows(splits: dict[str, Any], settings: TokensSettings, label: str) -> None:
    """Fail closed: a run without training or validation rows has no meaning."""
    wanted = settings.context_length
    train, validation = splits[TRAIN], splits[VALIDATION]
    if not train["rows"]:
        raise UserError(
            f"{label} gives only {train['lost_tokens']} training tokens, too few for one row of "
            f"tokens.context_length {wanted}: lower tokens.context_length or use more text"
        )
    if not validation["documents"]:
        raise UserError(
            f"none of the {train['documents']} documents fell to validation with tokens.validation_fraction "
            f"{settings.validation_fraction}: raise tokens.validation_fraction or use more text"
        )
    if not validation["rows"]:
        raise UserError(
            f"the {validation['documents']} validation documents give only {validation['lost_tokens']} tokens, too few "
            f"for one row of tokens.context_length {wanted}: raise tokens.validation_fraction (now "
            f"{settings.validation_fraction}) or lower tokens.context_length"
        )


def _write_dataset(
    directory: str, splits: dict[str, Any], settings: TokensSettings, tokenizer: TokenizerFile, content: str
) -> None:
    """The files that make the directory a `datasets.DatasetDict`, and the copy of the tokenizer."""
    schema = row_schema(settings.context_length, tokenizer.dtype)
    for split, entry in splits.items():
        names = [storage.name_of(shard["file"]) for shard in entry["shards"]]
        write_dataset_files(storage.join(directory, split), schema, names, fingerprint(content, split))
    storage.write_json(storage.join(directory, _DATASET_DICT), {"splits": list(SPLITS)})
    with storage.write_atomically(storage.join(directory, TOKENIZER_COPY)) as file:
        file.write(storage.read_bytes(tokenizer.url))


def _remove_strays(
    directory: str, splits: dict[str, Any], names: Sequence[str], keys: Sequence[str], leftovers: Sequence[str]
) -> None:
    """Remove what an earlier run with more or other shards left: nothing unlisted lies in the dataset."""
    records = {f"{key}.json" for key in keys}
    listed = {
        "": {*records, MANIFEST, TOKENIZER_COPY, _DATASET_DICT, *SPLITS, ENCODED, LEFTOVERS, CLUSTERS},
        ENCODED: {f"{name}.{ending}" for name in names for ending in ("arrow", "json")},
        LEFTOVERS: {storage.name_of(file) for file in leftovers},
    }
    for split, entry in splits.items():
        shards = {storage.name_of(shard["file"]) for shard in entry["shards"]}
        listed[split] = {*shards, *_OF_A_SPLIT}
    for folder, known in listed.items():
        place = storage.join(directory, folder) if folder else directory
        for name in storage.list_names(place):
            if name not in known and name.endswith((".arrow", ".json")):
                storage.remove(storage.join(place, name))


def _baselines(directory: str, validation: dict[str, Any], tokenizer: TokenizerFile) -> dict[str, Any]:
    files = [storage.join(directory, shard["file"]) for shard in validation["shards"]]
    bits, measured = gzip_bits_per_byte(files, token_bytes(load_tokenizer(tokenizer.url, tokenizer.sha256)))
    return {"validation_gzip9_bits_per_byte": round(bits, 6), "validation_text_bytes": measured}
