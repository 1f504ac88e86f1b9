"""Conversations to token rows with a loss mask: written once, read by every process.

    train/, validation/    shard-00000.arrow: columns input_ids: list<uint16|uint32>, loss_mask: list<bool>
    conversations.json     manifest, written last

Decisions: a row is one conversation, without padding, cut after its last trained token (what follows teaches
nothing). A row with no trained token cannot be written and is not read: it would cost time and teach nothing, and
is the sign of a wrong template. Which rows are held out follows from a hash of their tokens, so copies of one
conversation are never on both sides. The same conversations, tokenizer and settings give the same bytes.

Cost: about 0.2 CPU-ms a conversation of 60 tokens; memory: a batch of rows.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import ArrowWriter, fingerprint, write_dataset_files
from trainer.finetune.settings import FinetuneSettings
from trainer.finetune.template import ROLES, ChatTemplate, EncodedConversation, Message, load_tokenizer

MANIFEST = "conversations.json"
FORMAT_VERSION = 1
SPLITS = ("train", "validation")
SHARD = "shard-00000.arrow"
_BATCH_ROWS = 1024
_HASH_RANGE = 1 << 64


@dataclass(frozen=True)
class _Row:
    tokens: EncodedConversation
    draw: int
    """Hash of the tokens, below 2^64."""


def prepare_conversations(
    conversations: Path, tokenizer: Path, directory: Path, settings: FinetuneSettings, context_length: int
) -> dict[str, Any]:
    """Encode a conversations.jsonl for a model of this context length; nothing is done when that is done.

    Returns:
        The manifest: splits with rows, tokens, trained_tokens and shards; truncated and too_long (counts).

    Raises:
        UserError: a line is no conversation or has no word of the assistant (named), or too few are left.
    """
    identity = _identity(conversations, tokenizer, settings, context_length)
    manifest = _finished(directory, identity)
    if manifest is not None:
        return manifest
    encoder = _Encoder(conversations, tokenizer, settings, context_length)
    schema = _schema(encoder.vocab_size)
    splits, draws = _write(directory, schema, encoder, int(settings.validation_fraction * _HASH_RANGE))
    if draws[0] >= draws[1]:
        raise UserError(
            f"{conversations}: at least 2 different conversations that fit into {encoder.longest} tokens are needed, "
            "one to train on and one to validate"
        )
    if not all(splits[name]["rows"] for name in SPLITS):
        # so few conversations that one side has none: the one with the smallest hash is held out, or kept
        splits, _ = _write(directory, schema, encoder, draws[1] if splits["validation"]["rows"] else draws[0] + 1)
    for name in SPLITS:
        write_dataset_files(str(directory / name), schema, [SHARD], splits[name]["shards"][0]["sha256"])
    manifest = {
        "format_version": FORMAT_VERSION,
        "identity": identity,
        "fingerprint": fingerprint(identity, [splits[name]["shards"] for name in SPLITS]),
        "template": settings.template,
        "context_length": context_length,
        "vocab_size": encoder.vocab_size,
        "tokenizer_fingerprint": storage.sha256_of(str(tokenizer)),
        "splits": splits,
        "truncated": encoder.counts["truncated"],
        "too_long": encoder.counts["too_long"],
    }
    storage.write_json(str(directory / MANIFEST), manifest)
    return manifest


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of encoded conversations.

    Raises:
        UserError: there is none, or it is of another version.
    """
    path = directory / MANIFEST
    if not path.exists():
        raise UserError(f"{path} does not exist: the conversations were not finished; run the finetune step again")
    manifest: dict[str, Any] = storage.read_json(str(path))
    if manifest.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{path} has format version {manifest.get('format_version')}, this reads {FORMAT_VERSION}")
    return manifest


def _write(
    directory: Path, schema: pa.Schema, encoder: "_Encoder", threshold: int
) -> tuple[dict[str, Any], tuple[int, int]]:
    """Write both splits; rows whose hash is below the threshold are held out. Returns smallest and largest hash."""
    smallest, largest = _HASH_RANGE, -1
    encoder.counts.clear()
    with ExitStack() as stack:
        files = {name: str(directory / name / SHARD) for name in SPLITS}
        opened = {name: stack.enter_context(storage.write_atomically(path)) for name, path in files.items()}
        writers = {name: _SplitWriter(ArrowWriter(opened[name], schema), schema) for name in SPLITS}
        for row in encoder.rows():
            smallest, largest = min(smallest, row.draw), max(largest, row.draw)
            writers["validation" if row.draw < threshold else "train"].add(row.tokens)
        splits = {name: writers[name].close(f"{name}/{SHARD}") for name in SPLITS}
    return splits, (smallest, largest)


class _Encoder:
    """Goes through the conversations, encoding each; `counts` says what became of the long ones."""

    def __init__(self, conversations: Path, tokenizer: Path, settings: FinetuneSettings, context_length: int) -> None:
        loaded = load_tokenizer(tokenizer)
        self.vocab_size = 1 + max(loaded.get_vocab().values())
        # a row of n tokens is n - 1 inputs and as many targets
        self.longest = min(settings.max_tokens or context_length + 1, context_length + 1)
        self.counts: Counter[str] = Counter()
        self._template = ChatTemplate(loaded)
        self._conversations = conversations
        self._drops_long = settings.too_long == "drop"

    def rows(self) -> Iterator[_Row]:
        for number, messages in _read(self._conversations):
            encoded = self._template.encode(messages)
            if not any(encoded.loss_mask):
                raise UserError(
                    f"{self._conversations} line {number} has no word of the assistant, so nothing to learn: remove it"
                )
            row = self._cut(encoded)
            if row is not None:
                content = hashlib.blake2b(json.dumps(row.input_ids).encode(), digest_size=8).digest()
                yield _Row(row, int.from_bytes(content, "big"))

    def _cut(self, encoded: EncodedConversation) -> EncodedConversation | None:
        end = len(encoded.loss_mask) - encoded.loss_mask[::-1].index(True)
        if end > self.longest:
            if self._drops_long or not any(encoded.loss_mask[: self.longest]):
                self.counts["too_long"] += 1
                return None
            self.counts["truncated"] += 1
            shortened = encoded.loss_mask[: self.longest]
            end = len(shortened) - shortened[::-1].index(True)
        return EncodedConversation(encoded.input_ids[:end], encoded.loss_mask[:end])


class _SplitWriter:
    """Appends rows to one shard and counts them."""

    def __init__(self, writer: ArrowWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._waiting: list[EncodedConversation] = []
        self._tokens = self._trained = 0

    def add(self, row: EncodedConversation) -> None:
        self._waiting.append(row)
        self._tokens += len(row.input_ids)
        self._trained += sum(row.loss_mask)
        if len(self._waiting) == _BATCH_ROWS:
            self._flush()

    def close(self, name: str) -> dict[str, Any]:
        self._flush()
        sha256, _ = self._writer.close()
        rows = self._writer.rows
        shards = [{"file": name, "rows": rows, "sha256": sha256}]
        return {"rows": rows, "tokens": self._tokens, "trained_tokens": self._trained, "shards": shards}

    def _flush(self) -> None:
        columns = [[row.input_ids for row in self._waiting], [row.loss_mask for row in self._waiting]]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write(pa.Table.from_arrays(arrays, schema=self._schema))
        self._waiting = []


def _schema(vocab_size: int) -> pa.Schema:
    token = pa.uint16() if vocab_size <= 1 << 16 else pa.uint32()
    return pa.schema([("input_ids", pa.list_(token)), ("loss_mask", pa.list_(pa.bool_()))])


def _identity(conversations: Path, tokenizer: Path, settings: FinetuneSettings, context_length: int) -> str:
    if not conversations.exists():
        raise UserError(f"{conversations} does not exist: make the conversations first")
    chosen = [settings.template, settings.max_tokens, settings.too_long, settings.validation_fraction]
    contents = [storage.sha256_of(str(path)) for path in (conversations, tokenizer)]
    return fingerprint("conversation-rows", FORMAT_VERSION, chosen, contents, context_length)


def _finished(directory: Path, identity: str) -> dict[str, Any] | None:
    path = directory / MANIFEST
    if not path.exists():
        return None
    manifest: dict[str, Any] = storage.read_json(str(path))
    if manifest.get("identity") != identity:
        return None
    shards = [shard for name in SPLITS for shard in manifest["splits"][name]["shards"]]
    intact = all(
        (directory / shard["file"]).exists() and storage.sha256_of(str(directory / shard["file"])) == shard["sha256"]
        for shard in shards
    )
    return manifest if intact else None


def _read(conversations: Path) -> Iterator[tuple[int, list[Message]]]:
    with conversations.open("rb") as lines:  # bytes: only \n ends a line, U+2028 does not
        for number, line in enumerate(lines, 1):
            try:
                turns = json.loads(line)["messages"]
                messages = [Message(turn["role"], turn["content"]) for turn in turns]
                wrong = [message.role for message in messages if message.role not in ROLES]
            except (ValueError, KeyError, TypeError) as fault:
                raise UserError(
                    f"{conversations} line {number} is no conversation ({fault!r}): make it again"
                ) from fault
            if wrong:
                raise UserError(f"{conversations} line {number}: unknown role {wrong[0]!r}; known: {', '.join(ROLES)}")
            yield number, messages
