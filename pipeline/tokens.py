"""Turns the corpus and its tokenizer into the token dataset, the contract between pipeline and trainer.

    train/shard-00000.arrow ...    rows of context_length + 1 token ids; one file for each corpus shard with rows,
    validation/shard-*.arrow       and a last one with what the shards left over
    tails/                         those leftovers, so that a changed corpus shard is encoded alone
    shard-00000.json ...           records of the tasks
    dataset_dict.json              and the like: `datasets.load_from_disk` opens the whole or one split
    tokens.json                    manifest, written last; a directory without it is not read

Order, names and bytes depend on corpus, tokenizer and settings alone. Cost: 2 to 3 MB of text per CPU-second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import StageDirectory, fingerprint, read_manifest, shard_name, write_dataset_files
from pipeline.stage import Runner, Task
from pipeline.token_shards import SPLITS, TAILS, TRAIN, VALIDATION, encode_shard, join_tails, row_schema, token_type
from pipeline.tokenizer.load import TOKENIZER_FILE, load_tokenizer, token_byte_lengths, token_bytes
from pipeline.tokenizer.settings import END_OF_TEXT
from pipeline.tokenizer.train import read_tokenizer_manifest
from pipeline.tokens_baseline import gzip_bits_per_byte
from pipeline.tokens_settings import TokensSettings

FORMAT_VERSION = 1
CODE_VERSION = 1
"""Raised with every change of this code that changes rows or manifest."""
MANIFEST = "tokens.json"


def write_tokens(
    settings: TokensSettings, corpus: StageDirectory, tokenizer_directory: str, directory: str, runner: Runner
) -> dict[str, Any]:
    """Encode the corpus and write the token dataset; return its manifest. Does nothing when it is up to date.

    Raises:
        UserError: the tokenizer is unfinished or was changed; no document fell to validation; a split is too short
            for one row.
        ShardsFailed: some shards could not be encoded; the others are kept.
    """
    tokenizer = read_tokenizer_manifest(tokenizer_directory)
    fields = settings.model_dump(mode="json")
    wanted = fingerprint("tokens", CODE_VERSION, fields, tokenizer["sha256"], corpus.fingerprint)
    finished = _finished_manifest(directory, wanted)
    if finished is not None:
        return finished
    storage.remove(storage.join(directory, MANIFEST))

    tokenizer_file = storage.join(tokenizer_directory, TOKENIZER_FILE)
    records = runner.map(directory, "tokens", _tasks(settings, corpus, tokenizer, tokenizer_file, directory))
    encoder = load_tokenizer(tokenizer_file, tokenizer["sha256"])
    names = [shard.name for shard in corpus.shards]
    end_of_text = tokenizer["special_tokens"][END_OF_TEXT]
    rest = (directory, settings.context_length, token_byte_lengths(encoder), end_of_text)
    splits = {split: _finish_split(split, names, records, *rest) for split in SPLITS}
    _require_rows(splits, settings, corpus)

    dtype = token_type(tokenizer["vocab_size"])
    _write_dataset(directory, splits, row_schema(settings.context_length, dtype), wanted)
    _remove_strays(directory, splits, names)
    validation_files = [storage.join(directory, shard["file"]) for shard in splits[VALIDATION]["shards"]]
    bits, measured = gzip_bits_per_byte(validation_files, token_bytes(encoder))
    manifest = {
        "format_version": FORMAT_VERSION,
        "context_length": settings.context_length,
        "dtype": dtype.name,
        "vocab_size": tokenizer["vocab_size"],
        "tokenizer_fingerprint": tokenizer["sha256"],
        "corpus_fingerprint": corpus.fingerprint,
        "fingerprint": wanted,
        "end_of_text_id": end_of_text,
        "special_tokens": tokenizer["special_tokens"],
        "special_tokens_in_text": _summed([record["special_tokens_in_text"] for record in records]),
        "settings": fields,
        "splits": splits,
        "baselines": {"validation_gzip9_bits_per_byte": round(bits, 6), "validation_text_bytes": measured},
    }
    storage.write_json(storage.join(directory, MANIFEST), manifest)
    return manifest


def read_tokens_manifest(directory: str) -> dict[str, Any]:
    """The content of `tokens.json`.

    Raises:
        UserError: the token dataset is unfinished or of another format version.
    """
    return read_manifest(storage.join(directory, MANIFEST), FORMAT_VERSION, "tokens")


def describe(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a table: documents, tokens, bytes, share of the split's tokens and tokens per byte by split and source.

    Tokens count the end-of-text of each document, and the few that did not fill the last row.
    """
    table = []
    for split in SPLITS:
        sources = manifest["splits"][split]["sources"]
        total = sum(entry["tokens"] for entry in sources.values())
        table += [
            {
                "split": split,
                "source": source,
                **entry,
                "share": entry["tokens"] / total,
                "tokens_per_byte": entry["tokens"] / max(1, entry["text_bytes"]),
            }
            for source, entry in sorted(sources.items())
        ]
    return table


def _finished_manifest(directory: str, wanted: str) -> dict[str, Any] | None:
    path = storage.join(directory, MANIFEST)
    if not storage.exists(path):
        return None
    manifest: dict[str, Any] = storage.read_json(path)
    if manifest.get("fingerprint") != wanted:
        return None
    shards = [shard for split in manifest["splits"].values() for shard in split["shards"]]
    for shard in shards:
        file = storage.join(directory, shard["file"])
        if not storage.exists(file) or storage.size_of(file) != shard["file_bytes"]:
            return None
    return manifest


def _tasks(
    settings: TokensSettings, corpus: StageDirectory, tokenizer: dict[str, Any], tokenizer_file: str, directory: str
) -> list[Task]:
    parts = (CODE_VERSION, settings.model_dump(mode="json"), tokenizer["sha256"])
    return [
        Task(
            key=shard.name,
            function=encode_shard,
            arguments={
                "corpus_shard": storage.absolute(corpus.path(shard)),
                "tokenizer": storage.absolute(tokenizer_file),
                "tokenizer_sha256": tokenizer["sha256"],
                "special_tokens": tokenizer["special_tokens"],
                "settings": settings,
                "directory": storage.absolute(directory),
                "name": shard.name,
            },
            inputs=fingerprint(*parts, shard.sha256),
            weight=max(1, shard.text_bytes),
        )
        for shard in corpus.shards
    ]


def _finish_split(
    split: str,
    names: Sequence[str],
    records: Sequence[dict[str, Any]],
    directory: str,
    context_length: int,
    byte_lengths: np.ndarray,
    end_of_text: int,
) -> dict[str, Any]:
    """Join the tails of a split and list all its shards, as `tokens.json` does."""
    parts = [record["splits"][split] for record in records]
    files = [f"{split}/{name}.arrow" for name in names]
    shards = [
        _listed(directory, file, part["rows"], record["files"][file])
        for file, part, record in zip(files, parts, records, strict=True)
        if part["rows"]
    ]
    with_tails = [name for name, part in zip(names, parts, strict=True) if part["tail_tokens"]]
    last = shard_name(len(names))
    joined = join_tails(directory, split, with_tails, last, context_length, byte_lengths, end_of_text)
    if joined["rows"]:
        shards.append(_listed(directory, f"{split}/{last}.arrow", joined["rows"], joined["sha256"]))
    rows = sum(shard["rows"] for shard in shards)
    sources: dict[str, list[dict[str, int]]] = {}
    for part in parts:
        for source, entry in part["sources"].items():
            sources.setdefault(source, []).append(entry)
    return {
        "rows": rows,
        "target_tokens": rows * context_length,
        "text_bytes": sum(part["text_bytes"] for part in parts) + joined["text_bytes"],
        "lost_tokens": joined["lost_tokens"],
        "documents": sum(entry["documents"] for entries in sources.values() for entry in entries),
        "sources": {source: _summed(entries) for source, entries in sorted(sources.items())},
        "shards": shards,
    }


def _listed(directory: str, file: str, rows: int, sha256: str) -> dict[str, Any]:
    size = storage.size_of(storage.join(directory, file))
    return {"file": file, "rows": rows, "file_bytes": size, "sha256": sha256}


def _require_rows(splits: dict[str, Any], settings: TokensSettings, corpus: StageDirectory) -> None:
    """Fail closed: a run without training or validation rows has no meaning."""
    wanted = settings.context_length
    train, validation = splits[TRAIN], splits[VALIDATION]
    if not train["rows"]:
        raise UserError(
            f"{corpus.url} gives only {train['lost_tokens']} training tokens, too few for one row of "
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


def _write_dataset(directory: str, splits: dict[str, Any], schema: pa.Schema, content: str) -> None:
    """The files that make the directory a `datasets.DatasetDict`."""
    for split, entry in splits.items():
        names = [storage.name_of(shard["file"]) for shard in entry["shards"]]
        write_dataset_files(storage.join(directory, split), schema, names, fingerprint(content, split))
    storage.write_json(storage.join(directory, "dataset_dict.json"), {"splits": list(SPLITS)})


def _remove_strays(directory: str, splits: dict[str, Any], names: Sequence[str]) -> None:
    """Remove what an earlier run with more or other shards left: nothing unlisted lies in the dataset."""
    for split, entry in splits.items():
        listed = {storage.name_of(shard["file"]) for shard in entry["shards"]}
        folder = storage.join(directory, split)
        for name in storage.list_names(folder):
            if name.endswith(".arrow") and name not in listed:
                storage.remove(storage.join(folder, name))
    tails = {f"{split}-{name}.bin" for split in SPLITS for name in names}
    for name in storage.list_names(storage.join(directory, TAILS)):
        if name not in tails:
            storage.remove(storage.join(directory, TAILS, name))
    records = {f"{name}.json" for name in names}
    for name in storage.list_names(directory):
        if name.startswith("shard-") and name.endswith(".json") and name not in records:
            storage.remove(storage.join(directory, name))


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Counters added key by key, in the order of the keys' first appearance."""
    total: dict[str, int] = {}
    for entry in counts:
        for key, value in entry.items():
            total[key] = total.get(key, 0) + value
    return total
