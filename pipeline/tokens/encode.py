"""The task that encodes one corpus shard into tokens of whole documents, dealt out to buckets.

A sample of each shard is encoded by the `tokenizers` library too and must be equal (see `encoding_check`).
"""

from __future__ import annotations

from collections.abc import Mapping
from os.path import commonprefix
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute

from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import read_batches
from pipeline.tokens.encoded import Documents, closed, write_documents
from pipeline.tokens.format import TokenizerFile
from pipeline.tokens.held_out import held_out
from pipeline.tokens.shuffling import Shuffle


def encode_shard(
    corpus_shard: str,
    sha256: str,
    directory: str,
    name: str,
    tokenizer: TokenizerFile,
    validation_fraction: float,
    split_seed: int,
    clusters: tuple[str, str] | None,
    shuffle: Shuffle | None,
) -> dict[str, Any]:
    """Task: encode the documents of one corpus shard into `<name>.arrow`.

    Args:
        corpus_shard: Its Arrow file.
        sha256: Of that file, as the corpus's manifest gives it.
        directory: The folder of encoded files.
        name: Of the shard.
        tokenizer: Encodes; special tokens in texts are encoded as text and counted.
        validation_fraction: As the setting.
        split_seed: As the setting.
        clusters: Of labelled duplicates (`pipeline.tokens.held_out`).
        shuffle: The order; None: that of the corpus.

    Returns the record: sha256 of the file, documents, bytes, tokens by bucket and counts by source of each split,
    special tokens written in texts, how many documents were compared with the library, and why the kernels could not
    encode (None: they did).

    Raises:
        UserError: the shard or the tokenizer is damaged.
        RuntimeError: the library encodes a compared document in another way.
    """
    from pipeline.kernels.column import text_column
    from pipeline.tokenizer.encoder import encoder_of_worker
    from pipeline.tokenizer.encoding_check import EncodingCheck

    # What is read here is trained on, and from here on has checksums of its own: a changed bit would never be found.
    if not storage.exists(corpus_shard):
        raise UserError(f"{corpus_shard} is missing, though its step was finished: run that step again")
    if storage.sha256_of(corpus_shard) != sha256:
        raise UserError(
            f"{corpus_shard} does not have the sha256 of its record, it is damaged: remove it and run the corpus step "
            "again"
        )
    encoder = encoder_of_worker(tokenizer.url, tokenizer.sha256)
    check = EncodingCheck(encoder, corpus_shard)
    tokens, lengths, sizes, sides = [np.empty(0, tokenizer.dtype)], [], [], []
    sources: dict[str, int] = {}
    source = []
    in_text = dict.fromkeys(tokenizer.special_tokens, 0)
    for table in read_batches(corpus_shard):
        texts = text_column(table["text"])
        encoded = encoder.encode(texts)
        check.look_at(texts, encoded, table["id"])
        ids, starts = closed(encoded.ids, encoded.starts, tokenizer.end_of_text)
        tokens.append(ids)
        lengths.append(np.diff(starts))
        sizes.append(compute.binary_length(table["text"]).to_numpy())
        sides.append(held_out(table, validation_fraction, split_seed, clusters))
        coded = table["source"].combine_chunks().dictionary_encode()
        local = [sources.setdefault(name, len(sources)) for name in coded.dictionary.to_pylist()]
        source.append(np.asarray(local, np.uint16)[coded.indices.to_numpy()])
        _count_special_tokens(table["text"], in_text)
    if not sizes:
        sizes, sides = [np.empty(0, np.int64)], [np.empty(0, bool)]
        lengths, source = [np.empty(0, np.int64)], [np.empty(0, np.uint16)]
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    documents = Documents(np.concatenate(tokens), starts, np.concatenate(source))
    record = write_documents(
        directory, name, documents, np.concatenate(sizes), np.concatenate(sides), list(sources), shuffle
    )
    return {
        **record,
        "special_tokens_in_text": in_text,
        "compared_documents": check.documents,
        "why_not_compiled": encoder.why_not_compiled,
    }


def _count_special_tokens(texts: pa.ChunkedArray, counts: dict[str, int]) -> None:
    """Add how often each special token is written in the texts."""
    # One search instead of one a token: hardly a text has what all of them begin with.
    beginning = commonprefix(list(counts))  # noqa: RUF071 (characters are meant)
    suspects = texts.filter(compute.match_substring(texts, beginning))
    for token in counts:
        counts[token] += compute.sum(compute.count_substring(suspects, token)).as_py() or 0


def summed(counts: list[Mapping[str, int]]) -> dict[str, int]:
    """Counters added key by key, in the order of the keys' first appearance."""
    total: dict[str, int] = {}
    for entry in counts:
        for key, value in entry.items():
            total[key] = total.get(key, 0) + value
    return total
