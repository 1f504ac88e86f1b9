"""Encodes one corpus shard into rows of tokens, and joins what the shards left over.

The tokens of a shard are one stream: for each document its text's tokens and the end-of-text token, all behind one
end-of-text token that is only context. The stream is cut into rows of `context_length + 1` tokens that overlap by
one, so each token is the target of exactly one prediction. What does not fill a row, the tail, is joined with the
tails of the other shards into one last shard. Memory is bounded by a batch of documents, not by a shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute

from pipeline import storage
from pipeline.sampling import chosen
from pipeline.shard import ArrowWriter, read_batches
from pipeline.tokenizer.load import one_thread, token_byte_lengths, tokenizer_of_worker
from pipeline.tokenizer.settings import END_OF_TEXT
from pipeline.tokens_settings import TokensSettings

TRAIN = "train"
VALIDATION = "validation"
SPLITS = (TRAIN, VALIDATION)
TAILS = "tails"
COLUMN = "input_ids"


def token_type(vocab_size: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds every token id: uint16 or uint32, little-endian."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


def row_schema(context_length: int, dtype: np.dtype[Any]) -> pa.Schema:
    """The schema of a token shard: one column of rows of `context_length + 1` token ids."""
    return pa.schema([pa.field(COLUMN, pa.list_(pa.from_numpy_dtype(dtype), context_length + 1))])


class RowWriter:
    """Cuts a stream of tokens into rows and writes them to a file that appears only if there are any.

    The file is completed when `files` is closed without an error.
    """

    def __init__(self, url: str, files: ExitStack, context_length: int, byte_lengths: np.ndarray, first: int) -> None:
        """`byte_lengths`: bytes of text of each token, by id; `first`: the token that is context of the first one."""
        self._url = url
        self._files = files
        self._stride = context_length
        self._dtype = token_type(len(byte_lengths))
        self._byte_lengths = byte_lengths
        self._pending = np.array([first], dtype=self._dtype)
        self._writer: ArrowWriter | None = None
        self.rows = 0
        self.text_bytes = 0
        """UTF-8 bytes of the text of all target tokens written so far."""

    def add(self, tokens: np.ndarray) -> None:
        """Append tokens to the stream and write the rows that are now full."""
        stream = np.concatenate([self._pending, tokens.astype(self._dtype, copy=False)])
        count = (len(stream) - 1) // self._stride
        if count:
            rows = np.lib.stride_tricks.sliding_window_view(stream, self._stride + 1)[:: self._stride][:count]
            self._write(rows)
        self._pending = stream[count * self._stride :]

    def _write(self, rows: np.ndarray) -> None:
        schema = row_schema(self._stride, self._dtype)
        if self._writer is None:
            self._writer = ArrowWriter(self._files.enter_context(storage.write_atomically(self._url)), schema)
        column = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), type=schema.field(COLUMN).type)
        self._writer.write(pa.table([column], schema=schema))
        self.rows += len(rows)
        self.text_bytes += int(self._byte_lengths[rows[:, 1:]].sum())

    def tail(self) -> np.ndarray:
        """The tokens that are not yet the target of any row."""
        return self._pending[1:]

    def close(self) -> tuple[str, int] | None:
        """End the file; its sha256 and size in bytes, or None when there were no rows."""
        return self._writer.close() if self._writer is not None else None


def encode_shard(
    corpus_shard: str,
    tokenizer: str,
    tokenizer_sha256: str,
    special_tokens: dict[str, int],
    settings: TokensSettings,
    directory: str,
    name: str,
) -> dict[str, Any]:
    """Task: encode the documents of one corpus shard into `<split>/<name>.arrow` and `tails/<split>-<name>.bin`.

    Returns the record: sha256 of the files, documents and bytes read, and for each split its rows, the bytes of its
    target tokens' text, the tokens of the tail, and documents, tokens and bytes by source.
    """
    encoder = tokenizer_of_worker(tokenizer, tokenizer_sha256)
    byte_lengths = token_byte_lengths(encoder)
    end_of_text = special_tokens[END_OF_TEXT]
    sources: dict[str, dict[str, dict[str, int]]] = {split: {} for split in SPLITS}
    in_text = dict.fromkeys(special_tokens, 0)
    record: dict[str, Any] = {"files": {}, "splits": {}, "special_tokens_in_text": in_text}
    record |= {"documents": 0, "text_bytes": 0}
    with ExitStack() as files, one_thread():
        writers = {
            split: RowWriter(
                storage.join(directory, split, f"{name}.arrow"),
                files,
                settings.context_length,
                byte_lengths,
                end_of_text,
            )
            for split in SPLITS
        }
        for table in read_batches(corpus_shard):
            record["documents"] += table.num_rows
            record["text_bytes"] += compute.sum(compute.binary_length(table["text"])).as_py() or 0
            for token in special_tokens:
                in_text[token] += compute.sum(compute.count_substring(table["text"], token)).as_py() or 0
            held_out = chosen(table["text"], settings.validation_fraction, VALIDATION, settings.split_seed)
            for split, mask in ((TRAIN, ~held_out), (VALIDATION, held_out)):
                part = table.filter(pa.array(mask))
                encodings = encoder.encode_batch_fast(part["text"].to_pylist(), add_special_tokens=False)
                documents = [encoding.ids for encoding in encodings]
                _count(sources[split], part, documents)
                writers[split].add(_stream(documents, end_of_text))
        for split, writer in writers.items():
            written = writer.close()
            if written is not None:
                record["files"][f"{split}/{name}.arrow"] = written[0]
            tail = writer.tail()
            if len(tail):
                record["files"][f"{TAILS}/{split}-{name}.bin"] = _write_tail(directory, split, name, tail)
            record["splits"][split] = {
                "rows": writer.rows,
                "text_bytes": writer.text_bytes,
                "tail_tokens": len(tail),
                "sources": sources[split],
            }
    return record


def join_tails(
    directory: str,
    split: str,
    shards: Iterable[str],
    name: str,
    context_length: int,
    byte_lengths: np.ndarray,
    end_of_text: int,
) -> dict[str, Any]:
    """Write the tails of the named shards, in their order, as rows of one more shard.

    Returns its rows, bytes of text, sha256 (None without rows), and `lost_tokens`: what did not fill the last row.
    """
    with ExitStack() as files:
        url = storage.join(directory, split, f"{name}.arrow")
        writer = RowWriter(url, files, context_length, byte_lengths, end_of_text)
        for shard in shards:
            content = storage.read_bytes(storage.join(directory, TAILS, f"{split}-{shard}.bin"))
            writer.add(np.frombuffer(content, dtype=token_type(len(byte_lengths))))
        written = writer.close()
    return {
        "rows": writer.rows,
        "text_bytes": writer.text_bytes,
        "sha256": written[0] if written is not None else None,
        "lost_tokens": len(writer.tail()),
    }


def _stream(documents: list[list[int]], end_of_text: int) -> np.ndarray:
    flat: list[int] = []
    for ids in documents:
        flat += ids
        flat.append(end_of_text)
    return np.array(flat, dtype=np.uint32)


def _count(sources: dict[str, dict[str, int]], part: pa.Table, documents: list[list[int]]) -> None:
    """Documents, tokens (end-of-text included) and bytes of text by source."""
    sizes = compute.binary_length(part["text"]).to_pylist()
    for source, size, ids in zip(part["source"].to_pylist(), sizes, documents, strict=True):
        entry = sources.setdefault(source, {"documents": 0, "tokens": 0, "text_bytes": 0})
        entry["documents"] += 1
        entry["tokens"] += len(ids) + 1
        entry["text_bytes"] += size


def _write_tail(directory: str, split: str, name: str, tail: np.ndarray) -> str:
    content = tail.tobytes()
    with storage.write_atomically(storage.join(directory, TAILS, f"{split}-{name}.bin")) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()
