"""Learns the merges of a byte-level BPE tokenizer from the corpus and writes it with its report.

The folder holds `tokenizer.json` (as `tokenizers` and `transformers` read it), `tokenizer_report.json`, and
`manifest.json`, written last. Merges do not depend on the order of threads: the library counts the pieces of all
texts first, and breaks ties between pairs by their ids. Cost (one core, books): 3 to 4 MB of text per CPU-second for
8,192 tokens; memory grows with the number of different pieces, not with the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from pipeline import storage
from pipeline.errors import UserError
from pipeline.sampling import chosen
from pipeline.shard import StageDirectory, fingerprint, read_manifest
from pipeline.tokenizer.load import MANIFEST, TOKENIZER_FILE, tokenizer_from_bytes
from pipeline.tokenizer.report import REPORT_FILE, tokenizer_report
from pipeline.tokenizer.settings import TokenizerSettings

FORMAT_VERSION = 1
CODE_VERSION = 1
"""Raised with every change of this code that changes the tokenizer or its report."""

_GPT4_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)
"""The published pattern of OpenAI's cl100k_base."""


def train_tokenizer(settings: TokenizerSettings, corpus: StageDirectory, directory: str) -> dict[str, Any]:
    """Train on the corpus and write the tokenizer's folder; return its manifest. Does nothing when it is up to date.

    Raises:
        UserError: the corpus holds no text, or too little for a vocabulary of this size.
    """
    wanted = fingerprint("tokenizer", CODE_VERSION, settings.model_dump(mode="json"), corpus.fingerprint)
    finished = _finished_manifest(directory, wanted)
    if finished is not None:
        return finished
    storage.remove(storage.join(directory, MANIFEST))

    sample = _Sample(corpus, settings.max_training_bytes)
    tokenizer = _untrained(settings)
    tokenizer.train_from_iterator(sample.texts(), _trainer(settings))
    if sample.bytes == 0:
        raise UserError(
            f"{corpus.url} holds no text to train a tokenizer on: look at the funnel for what dropped the documents"
        )
    _require_size(tokenizer, settings, sample.bytes)

    content = tokenizer.to_str(pretty=True).encode() + b"\n"
    path = storage.join(directory, TOKENIZER_FILE)
    sha256 = hashlib.sha256(content).hexdigest()
    with storage.write_atomically(path) as file:
        file.write(content)
    report = tokenizer_report(tokenizer_from_bytes(content, path, sha256), corpus)
    storage.write_json(storage.join(directory, REPORT_FILE), report)
    manifest = {
        "format_version": FORMAT_VERSION,
        "fingerprint": wanted,
        "sha256": sha256,
        "vocab_size": tokenizer.get_vocab_size(),
        "special_tokens": {name: index for index, name in enumerate(settings.special_tokens)},
        "settings": settings.model_dump(mode="json"),
        "corpus_fingerprint": corpus.fingerprint,
        "training_documents": sample.documents,
        "training_bytes": sample.bytes,
        "library": f"tokenizers {tokenizers.__version__}",
    }
    storage.write_json(storage.join(directory, MANIFEST), manifest)
    return manifest


def read_tokenizer_manifest(directory: str) -> dict[str, Any]:
    """The manifest of a finished tokenizer whose `tokenizer.json` is still the one that was trained.

    Raises:
        UserError: the tokenizer is unfinished, of another format version, or was changed since.
    """
    manifest = read_manifest(storage.join(directory, MANIFEST), FORMAT_VERSION, "tokenizer")
    file = storage.join(directory, TOKENIZER_FILE)
    found = storage.sha256_of(file) if storage.exists(file) else "none"
    if found != manifest["sha256"]:
        raise UserError(
            f"{file} (sha256 {found[:12]}) is not the file that {MANIFEST} beside it describes "
            f"({manifest['sha256'][:12]}): run the tokenizer step again"
        )
    return manifest


def _finished_manifest(directory: str, wanted: str) -> dict[str, Any] | None:
    if not storage.exists(storage.join(directory, MANIFEST)):
        return None
    try:
        manifest = read_tokenizer_manifest(directory)
    except UserError:
        return None
    return manifest if manifest["fingerprint"] == wanted else None


def _untrained(settings: TokenizerSettings) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if settings.pre_tokenization == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_GPT4_PIECES), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _trainer(settings: TokenizerSettings) -> trainers.BpeTrainer:
    return trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        min_frequency=settings.min_frequency,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in settings.special_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )


def _require_size(tokenizer: Tokenizer, settings: TokenizerSettings, text_bytes: int) -> None:
    reached = tokenizer.get_vocab_size()
    if reached < settings.vocab_size:
        raise UserError(
            f"tokenizer.vocab_size is {settings.vocab_size}, but {text_bytes} bytes of text yield only {reached} "
            f"tokens with min_frequency {settings.min_frequency}: set tokenizer.vocab_size to {reached} or less, or "
            "use more text"
        )


@dataclass
class _Sample:
    """The texts to learn from, counted while they pass by."""

    corpus: StageDirectory
    max_bytes: int
    documents: int = 0
    bytes: int = 0

    def texts(self) -> Iterator[list[str]]:
        total = sum(shard.text_bytes for shard in self.corpus.shards)
        share = 1.0 if total <= self.max_bytes else self.max_bytes / total
        for table in self.corpus.batches():
            texts = _selected(table["text"], share)
            self.documents += len(texts)
            self.bytes += sum(len(text.encode()) for text in texts)
            yield texts


def _selected(texts: pa.ChunkedArray, share: float) -> list[str]:
    if share < 1.0:
        texts = texts.filter(pa.array(np.asarray(chosen(texts, share, "tokenizer training"))))
    values: list[str] = texts.to_pylist()
    return values
