"""Turns the corpus and its tokenizer into the token dataset, the contract between pipeline and trainer.

Encoding (a task a corpus shard) deals documents out to buckets, packing (a task a bucket) orders them and cuts them
into rows, so a global shuffle never holds more than a bucket. `pipeline.tokens.format` says what lies where.
"""

from __future__ import annotations

from typing import Any

from pipeline import storage
from pipeline.shard import StageDirectory, fingerprint
from pipeline.stage import Runner, Task
from pipeline.tokenizer.load import TOKENIZER_FILE
from pipeline.tokenizer.settings import END_OF_TEXT, PADDING
from pipeline.tokenizer.train import read_tokenizer_manifest
from pipeline.tokens.dataset import finished_dataset, pack_documents
from pipeline.tokens.encode import encode_shard, summed
from pipeline.tokens.format import CODE_VERSION, ENCODED, MANIFEST, TRAIN, VALIDATION, TokenizerFile
from pipeline.tokens.held_out import join_clusters
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.shuffling import Shuffle, buckets_for


def write_tokens(
    settings: TokensSettings, corpus: StageDirectory, tokenizer_directory: str, directory: str, runner: Runner
) -> dict[str, Any]:
    """Encode the corpus and write the token dataset; return its manifest. Does nothing when it is up to date.

    Raises:
        UserError: the tokenizer is unfinished or was changed; the corpus is empty; no document fell to validation; a
            split is too short for one row.
        ShardsFailed: some shards could not be encoded or packed; the others are kept.
    """
    trained = read_tokenizer_manifest(tokenizer_directory)
    wanted = fingerprint(
        "tokens", CODE_VERSION, settings.model_dump(mode="json"), trained["sha256"], corpus.fingerprint
    )
    finished = finished_dataset(directory, wanted)
    if finished is not None:
        return finished
    storage.remove(storage.join(directory, MANIFEST))

    directory = storage.absolute(directory)
    tokenizer = TokenizerFile(
        url=storage.absolute(storage.join(tokenizer_directory, TOKENIZER_FILE)),
        sha256=trained["sha256"],
        vocab_size=trained["vocab_size"],
        special_tokens=trained["special_tokens"],
        end_of_text=trained["special_tokens"][END_OF_TEXT],
        padding=trained["special_tokens"].get(PADDING, trained["special_tokens"][END_OF_TEXT]),
    )
    shuffle = shuffle_of(settings, sum(shard.text_bytes for shard in corpus.shards))
    tasks = _tasks(settings, corpus, tokenizer, shuffle, directory, runner)
    encoded = runner.map(storage.join(directory, ENCODED), "tokens", tasks)
    further = {
        "corpus_fingerprint": corpus.fingerprint,
        "special_tokens_in_text": summed([record["special_tokens_in_text"] for record in encoded]),
        "compared_documents": sum(record["compared_documents"] for record in encoded),
        "why_not_compiled": next((record["why_not_compiled"] for record in encoded), None),
    }
    names = [shard.name for shard in corpus.shards]
    return pack_documents(directory, corpus.url, names, encoded, shuffle, settings, tokenizer, runner, wanted, further)


def shuffle_of(settings: TokensSettings, text_bytes: int) -> Shuffle | None:
    """The order of so much text that the settings ask for; None: that of the corpus."""
    if not settings.shuffle:
        return None
    held_out = text_bytes * settings.validation_fraction
    buckets = {TRAIN: text_bytes - held_out, VALIDATION: held_out}
    counts = {split: buckets_for(size, settings.bucket_bytes) for split, size in buckets.items()}
    return Shuffle(settings.shuffle_seed, counts)


def _tasks(
    settings: TokensSettings,
    corpus: StageDirectory,
    tokenizer: TokenizerFile,
    shuffle: Shuffle | None,
    directory: str,
    runner: Runner,
) -> list[Task]:
    from pipeline.tokenizer.encoder import KERNELS

    clusters = join_clusters(corpus, directory, runner)
    order = None if shuffle is None else (shuffle.seed, shuffle.buckets)
    sides = (settings.validation_fraction, settings.split_seed, clusters and clusters[1])
    return [
        Task(
            key=shard.name,
            function=encode_shard,
            arguments={
                "corpus_shard": storage.absolute(corpus.path(shard)),
                "sha256": shard.sha256,
                "directory": storage.join(directory, ENCODED),
                "name": shard.name,
                "tokenizer": tokenizer,
                "validation_fraction": settings.validation_fraction,
                "split_seed": settings.split_seed,
                "clusters": clusters,
                "shuffle": shuffle,
            },
            inputs=fingerprint(CODE_VERSION, tokenizer.sha256, tokenizer.special_tokens, sides, order, shard.sha256),
            weight=max(1, shard.text_bytes),
            kernels=KERNELS,
        )
        for shard in corpus.shards
    ]
