"""Learns the merges of a BPE tokenizer from the whole corpus and writes it with its report.

    counts/                   the pieces of the corpus and how often each occurs (`pipeline.tokenizer.counting`)
    tokenizer.json            as `tokenizers` and `transformers` read it
    tokenizer_config.json     what `transformers.AutoTokenizer` wants beside it
    tokenizer_report.json     what the tokenizer is worth on its corpus
    manifest.json             written last; a folder without it is not read

Merges are those that the `tokenizers` library would learn from the same text. Counting is done by all workers, the
merges are learned in one process from the counts. Cost: see `counting` and `merges`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.errors import UserError
from pipeline.kernels.compiled import ensure_compiled
from pipeline.shard import StageDirectory, fingerprint, finished_manifest, read_manifest
from pipeline.stage import Runner
from pipeline.tokenizer import merges
from pipeline.tokenizer.characters import library_version
from pipeline.tokenizer.compared import digests
from pipeline.tokenizer.counting import count_pieces, read_counts
from pipeline.tokenizer.load import MANIFEST, REPORT_FILE, TOKENIZER_FILE
from pipeline.tokenizer.pieces import pre_tokenizer_of
from pipeline.tokenizer.report import tokenizer_report
from pipeline.tokenizer.settings import BYTE_VALUES, END_OF_TEXT, PADDING, TokenizerSettings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FORMAT_VERSION = 1
CODE_VERSION = 3
"""Raised with every change of this code that changes the tokenizer or its report."""
COUNTS = "counts"
"""Folder of the counts, below the tokenizer's."""
CONFIG_FILE = "tokenizer_config.json"


def train_tokenizer(
    settings: TokenizerSettings, corpus: StageDirectory, directory: str, runner: Runner
) -> dict[str, Any]:
    """Train on the corpus and write the tokenizer's folder; return its manifest. Does nothing when it is up to date.

    Raises:
        UserError: the corpus holds no text, or too little for a vocabulary of this size; a vocabulary to compare with
            cannot be read.
        ShardsFailed: some shards could not be counted or measured; the counts of the others are kept.
    """
    fields = settings.model_dump(mode="json")
    wanted = fingerprint("tokenizer", CODE_VERSION, fields, digests(settings.compare), corpus.fingerprint)
    finished = _finished_tokenizer(directory, wanted)
    if finished is not None:
        return finished
    storage.remove(storage.join(directory, MANIFEST))

    counts = count_pieces(settings, corpus, storage.join(directory, COUNTS), runner)
    if counts["text_bytes"] == 0:
        raise UserError(
            f"{corpus.url} holds no text to train a tokenizer on: look at the funnel for what dropped the documents"
        )
    tokenizer = _trained(settings, storage.join(directory, COUNTS), counts)
    content = tokenizer.to_str(pretty=True).encode() + b"\n"
    path = storage.join(directory, TOKENIZER_FILE)
    sha256 = hashlib.sha256(content).hexdigest()
    with storage.write_atomically(path) as file:
        file.write(content)
    storage.write_json(storage.join(directory, CONFIG_FILE), _config(settings))
    report = tokenizer_report(path, sha256, corpus, directory, runner, settings.compare)
    storage.write_json(storage.join(directory, REPORT_FILE), report)
    manifest = {
        "format_version": FORMAT_VERSION,
        "fingerprint": wanted,
        "sha256": sha256,
        "vocab_size": tokenizer.get_vocab_size(),
        "special_tokens": {name: tokenizer.token_to_id(name) for name in settings.special_tokens},
        "reserved_tokens": {name: tokenizer.token_to_id(name) for name in settings.reserved},
        "settings": fields,
        "corpus_fingerprint": corpus.fingerprint,
        "training": {key: value for key, value in counts.items() if key not in ("format_version", "files")},
        "library": f"tokenizers {library_version()}",
    }
    storage.write_json(storage.join(directory, MANIFEST), manifest)
    return manifest


def read_tokenizer_manifest(directory: str) -> dict[str, Any]:
    """The manifest of a finished tokenizer whose `tokenizer.json` is still the one that was trained.

    Raises:
        UserError: the tokenizer is unfinished, of another format version, or was changed since.
    """
    manifest = read_manifest(storage.join(directory, MANIFEST), FORMAT_VERSION, "tokenizer")
    file, found = _tokenizer_file(directory)
    if found != manifest["sha256"]:
        raise UserError(
            f"{file} (sha256 {found[:12]}) is not the file that {MANIFEST} beside it describes "
            f"({manifest['sha256'][:12]}): run the tokenizer step again"
        )
    return manifest


def _finished_tokenizer(directory: str, wanted: str) -> dict[str, Any] | None:
    manifest = finished_manifest(storage.join(directory, MANIFEST), FORMAT_VERSION, wanted)
    if manifest is None:
        return None
    if not all(storage.exists(storage.join(directory, file)) for file in (CONFIG_FILE, REPORT_FILE)):
        return None
    _, found = _tokenizer_file(directory)
    return manifest if found == manifest["sha256"] else None


def _tokenizer_file(directory: str) -> tuple[str, str]:
    """Where `tokenizer.json` lies, and its sha256 (`none` where there is no such file)."""
    file = storage.join(directory, TOKENIZER_FILE)
    return file, storage.sha256_of(file) if storage.exists(file) else "none"


def _trained(settings: TokenizerSettings, directory: str, counts: dict[str, Any]) -> Tokenizer:
    ensure_compiled(merges.KERNELS)
    learned = merges.train_merges(
        read_counts(directory, counts),
        settings.vocab_size,
        settings.min_frequency,
        settings.special_tokens + settings.reserved,
        settings.alphabet,
        settings.max_token_length,
        settings.alphabet_limit,
    )
    tokenizer = merges.tokenizer_of(learned, pre_tokenizer_of(settings.pieces, settings.alphabet))
    _require_size(tokenizer.get_vocab_size(), settings, counts)
    return tokenizer


def _require_size(reached: int, settings: TokenizerSettings, counts: dict[str, Any]) -> None:
    if reached > settings.vocab_size:
        others = BYTE_VALUES + len(settings.special_tokens) + len(settings.reserved)
        room = settings.vocab_size - others
        less = f", or tokenizer.alphabet_limit to {room} or less" if room else ""
        raise UserError(
            f"tokenizer.vocab_size is {settings.vocab_size}, but the corpus has {reached - others} different "
            f"characters, and there are {others} special, reserved and byte tokens: set tokenizer.vocab_size to more "
            f"than {reached}{less}"
        )
    if reached < settings.vocab_size:
        given = f"min_frequency {settings.min_frequency}"
        if settings.max_token_length is not None:
            given += f", max_token_length {settings.max_token_length}"
        if settings.alphabet_limit is not None:
            given += f", alphabet_limit {settings.alphabet_limit}"
        if counts["long_pieces"]:
            given += f", {counts['long_pieces']} pieces left out by max_piece_bytes {settings.max_piece_bytes}"
        if counts["rare_pieces"]:
            given += f", {counts['rare_pieces']} left out by min_piece_count {settings.min_piece_count}"
        raise UserError(
            f"tokenizer.vocab_size is {settings.vocab_size}, but {counts['text_bytes']} bytes of text yield only "
            f"{reached} tokens with {given}: set tokenizer.vocab_size to {reached} or less, or use more text"
        )


def _config(settings: TokenizerSettings) -> dict[str, Any]:
    """What tells `transformers` which class opens `tokenizer.json` and what its special tokens are for."""
    named = (END_OF_TEXT, PADDING)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": PADDING,
        "additional_special_tokens": [name for name in settings.special_tokens if name not in named],
        "clean_up_tokenization_spaces": False,
    }
