"""Tokens that others made become a token dataset: Megatron-LM's .bin/.idx, columns of token ids in Arrow or Parquet.

Each slice of the input (a range of documents, a file) is checked and dealt out to buckets as an encoded corpus shard
is (`pipeline.tokens.encoded`), then packed in the same way. Every id must be known to the tokenizer that is named as
theirs; that it really is theirs nobody can check, so look at some rows: `gptmill inspect tokens`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from pipeline import storage
from pipeline.errors import UserError
from pipeline.sampling import chosen
from pipeline.shard import fingerprint, shard_name
from pipeline.sources import files
from pipeline.stage import Runner, Task
from pipeline.tokenizer.load import id_bound, load_tokenizer, token_byte_lengths, tokenizer_of_worker
from pipeline.tokenizer.settings import END_OF_TEXT, PADDING
from pipeline.tokens.dataset import finished_dataset, pack_documents
from pipeline.tokens.encoded import Documents, write_documents
from pipeline.tokens.format import CODE_VERSION, ENCODED, ENDS, MANIFEST, SOURCES, VALIDATION, TokenizerFile
from pipeline.tokens.megatron import open_indexed
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.shuffling import Shuffle
from pipeline.tokens.write import shuffle_of

SLICE_TOKENS = 1 << 25
"""Tokens of a Megatron dataset that one task reads."""
ENDINGS = (".arrow", ".parquet")
BATCH_ROWS = 4096
_ARROW_FILE = b"ARROW1"
"""Beginning of an Arrow file; a stream has none."""
DocumentBoundaries = Literal["rows", "end-of-text"]


@dataclass(frozen=True)
class TokenSlice:
    """What one task reads."""

    label: str
    """For messages."""
    megatron: bool
    """Whether `path` is the prefix of .bin and .idx."""
    path: str
    first: int
    """Megatron: first document."""
    last: int
    """Megatron: behind the last document."""
    stamp: str
    """Changes when the files do."""
    tokens: int
    """How many, or a guess."""


def import_tokens(
    source: str,
    tokenizer_file: str,
    directory: str,
    settings: TokensSettings,
    runner: Runner,
    *,
    name: str | None = None,
    column: str = "input_ids",
    boundaries: DocumentBoundaries = "rows",
    end_of_text: str = END_OF_TEXT,
) -> dict[str, Any]:
    """Write a token dataset from others' tokens; return its manifest. Does nothing when it is up to date.

    Args:
        source: Prefix of a Megatron dataset (with or without .bin or .idx), or file, folder or pattern of Arrow or
            Parquet files with a column of token ids.
        tokenizer_file: The `tokenizer.json` they were made with.
        directory: Where the dataset goes.
        settings: As for a corpus.
        runner: Runs the tasks.
        name: What the dataset is called among its sources; None: the last part of `source`.
        column: Of the token ids, in Arrow and Parquet.
        boundaries: Whether each row is a document, or documents end at end-of-text tokens only. Of a Megatron
            dataset the index knows.
        end_of_text: The token that closes a document; it is added where a document does not end with it.

    Raises:
        UserError: something is missing, damaged, of an unknown form, or has ids that the tokenizer does not know; the
            folder holds something that is no token dataset.
        ShardsFailed: some slices could not be imported; the others are kept.
    """
    tokenizer = _tokenizer(tokenizer_file, end_of_text)
    slices = plan_slices(source, column)
    name = name or storage.name_of(source.removesuffix(".bin").removesuffix(".idx"))
    directory = storage.absolute(directory)
    _require_own_folder(directory)
    # Of the text nothing is known but that a token of a common vocabulary stands for some four bytes.
    shuffle = shuffle_of(settings, 4 * sum(part.tokens for part in slices))
    order = None if shuffle is None else (shuffle.seed, shuffle.buckets)
    sides = (settings.validation_fraction, settings.split_seed)
    reading = (tokenizer.sha256, tokenizer.end_of_text, name, column, boundaries)
    tasks = [
        Task(
            key=shard_name(index),
            function=import_slice,
            arguments={
                "part": part,
                "directory": storage.join(directory, ENCODED),
                "name": shard_name(index),
                "tokenizer": tokenizer,
                "source": name,
                "column": column,
                "boundaries": boundaries,
                "validation_fraction": settings.validation_fraction,
                "split_seed": settings.split_seed,
                "shuffle": shuffle,
            },
            inputs=fingerprint(CODE_VERSION, reading, sides, order, part.stamp, part.first, part.last),
            weight=max(1, part.tokens),
        )
        for index, part in enumerate(slices)
    ]
    encoded = runner.map(storage.join(directory, ENCODED), "tokens: import", tasks)
    content = fingerprint([record["files"] for record in encoded])
    fields = settings.model_dump(mode="json")
    wanted = fingerprint("imported tokens", CODE_VERSION, fields, reading, content)
    finished = finished_dataset(directory, wanted)
    if finished is not None:
        return finished
    storage.remove(storage.join(directory, MANIFEST))
    further = {
        "corpus_fingerprint": content,
        "special_tokens_in_text": {},
        "end_of_text_inside_documents": sum(record["end_of_text_inside"] for record in encoded),
    }
    names = [task.key for task in tasks]
    return pack_documents(directory, source, names, encoded, shuffle, settings, tokenizer, runner, wanted, further)


def _require_own_folder(directory: str) -> None:
    """Raises UserError where the folder holds something else: what is not of the dataset would be removed."""
    names = set(storage.list_names(directory))
    if names and not names & {MANIFEST, ENCODED}:
        raise UserError(
            f"{directory} is no token dataset but holds {min(names)}: name a new or empty folder, whatever is not of "
            "the dataset is removed from it"
        )


def plan_slices(source: str, column: str) -> list[TokenSlice]:
    """What the tasks read, in order.

    Raises:
        UserError: nothing is there, or it is neither of the forms.
    """
    prefix = storage.absolute(source.removesuffix(".bin").removesuffix(".idx"))
    if any(storage.exists(f"{prefix}.{ending}") for ending in ("idx", "bin")):
        return _megatron_slices(prefix)
    if storage.exists(storage.join(storage.absolute(source), "dataset_dict.json")):
        splits = storage.read_json(storage.join(storage.absolute(source), "dataset_dict.json"))["splits"]
        raise UserError(f"{source} has the splits {', '.join(splits)}: name one of them, such as {source}/{splits[0]}")
    found = [file for file in files.expand(source, ENDINGS) if not storage.name_of(file).startswith("cache-")]
    for file in found:
        if not file.endswith(ENDINGS):
            raise UserError(f"{file} ends with none of .idx, .bin, {', '.join(ENDINGS)}: tokens in such files are read")
    return [TokenSlice(file, False, file, 0, 0, storage.stamp_of(file), storage.size_of(file) // 4) for file in found]


def _megatron_slices(prefix: str) -> list[TokenSlice]:
    indexed = open_indexed(prefix)
    # Where documents begin, the empty ones too: a slice is named by its documents.
    begins = np.append(indexed.pointers // indexed.tokens.itemsize, len(indexed.tokens))[indexed.ends]
    stamp = fingerprint([storage.stamp_of(f"{prefix}.{ending}") for ending in ("idx", "bin")])
    goals = np.arange(SLICE_TOKENS, len(indexed.tokens), SLICE_TOKENS)
    bounds = np.unique([0, *np.searchsorted(begins, goals).tolist(), indexed.documents]).tolist()
    return [
        TokenSlice(
            f"{prefix} documents {first} to {last}", True, prefix, first, last, stamp, int(begins[last] - begins[first])
        )
        for first, last in pairwise(bounds)
    ]


def import_slice(
    part: TokenSlice,
    directory: str,
    name: str,
    tokenizer: TokenizerFile,
    source: str,
    column: str,
    boundaries: DocumentBoundaries,
    validation_fraction: float,
    split_seed: int,
    shuffle: Shuffle | None,
) -> dict[str, Any]:
    """Task: check the documents of a slice and write them to `<name>.arrow`. Arguments as `import_tokens`.

    Returns the record, as `pipeline.tokens.encode.encode_shard` does.
    """
    if part.megatron:
        indexed = open_indexed(part.path, check=False)
        bounds = indexed.starts(part.first, part.last)
        ids, starts = indexed.tokens[bounds[0] : bounds[-1]], bounds - bounds[0]
        _require_known(ids, starts, tokenizer, part.path, "document", part.first)
        tokens = ids.astype(tokenizer.dtype)
    else:
        tokens, starts = _read_rows(part.path, column, tokenizer)
        if boundaries == "end-of-text":
            ends = np.flatnonzero(tokens == tokenizer.end_of_text) + 1
            starts = np.unique(np.concatenate([[0], ends, [len(tokens)]])).astype(np.int64)
    inside = int((tokens == tokenizer.end_of_text).sum())
    open_ended = np.flatnonzero(tokens[starts[1:] - 1] != tokenizer.end_of_text)
    inside -= len(starts) - 1 - len(open_ended)
    tokens = np.insert(tokens, starts[1:][open_ended], tokenizer.end_of_text)
    starts = starts + np.searchsorted(open_ended, np.arange(len(starts)))
    held_out = _held_out(tokens, starts, validation_fraction, split_seed)
    lengths = token_byte_lengths(tokenizer_of_worker(tokenizer.url, tokenizer.sha256))
    text_bytes = np.add.reduceat(lengths[tokens], starts[:-1]) if len(starts) > 1 else np.empty(0, np.int64)
    documents = Documents(tokens, starts, np.zeros(len(starts) - 1, np.uint16))
    record = write_documents(directory, name, documents, text_bytes, held_out, [source], shuffle)
    return {**record, "end_of_text_inside": inside}


def _held_out(tokens: np.ndarray, starts: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Mask of the validation documents, by a hash of their tokens: equal ones are on one side."""
    offsets = pa.py_buffer(starts * tokens.dtype.itemsize)
    contents = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(starts) - 1, [None, offsets, pa.py_buffer(np.ascontiguousarray(tokens))]
    )
    return np.asarray(chosen(pa.chunked_array([contents]), fraction, VALIDATION, seed), bool)


def _read_rows(file: str, column: str, tokenizer: TokenizerFile) -> tuple[np.ndarray, np.ndarray]:
    """The ids of a column of lists, one row behind the other, and where each row begins; empty rows are left out."""
    parts, lengths = [np.empty(0, tokenizer.dtype)], [np.empty(0, np.int64)]
    row = 0
    for values in _columns(file, column):
        kind = values.type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if not is_list or not pa.types.is_integer(kind.value_type):
            raise UserError(f"{file}: column {column} is {kind}, not lists of whole numbers: name the one of token ids")
        ids = values.flatten()
        if values.null_count or ids.null_count:
            raise UserError(f"{file}: column {column} has nulls near row {row}: leave those rows out")
        sizes = compute.list_value_length(values).to_numpy().astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        _require_known(ids.to_numpy(), starts, tokenizer, file, "row", row)
        parts.append(ids.to_numpy().astype(tokenizer.dtype))
        lengths.append(sizes[sizes > 0])
        row += len(values)
    return np.concatenate(parts), np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)


def _columns(file: str, column: str) -> Iterator[pa.Array]:
    """A column of an Arrow or Parquet file, batch by batch."""
    with storage.open_binary(file) as stream:
        try:
            if file.endswith(".parquet"):
                table = parquet.ParquetFile(stream)
                _require_column(file, column, table.schema_arrow.names)
                batches = table.iter_batches(batch_size=BATCH_ROWS, columns=[column], use_threads=False)
            else:
                is_file = stream.read(len(_ARROW_FILE)) == _ARROW_FILE
                stream.seek(0)
                reader = pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream)
                _require_column(file, column, reader.schema.names)
                count = reader.num_record_batches if is_file else 0
                batches = map(reader.get_batch, range(count)) if is_file else iter(reader)
            for batch in batches:
                yield batch.column(column)
        except (pa.ArrowException, OSError) as fault:
            if isinstance(fault, OSError) and fault.errno is not None:
                raise
            raise UserError(f"{file} is damaged or cut short ({fault}): fetch it again") from fault


def _require_column(file: str, column: str, names: list[str]) -> None:
    if ENDS in names and SOURCES in names:
        raise UserError(
            f"{file} is of a gptmill token dataset, whose rows overlap by a token: train on it as it is "
            "(pretrain.mixture), or write it with gptmill export-tokens and import that"
        )
    if column not in names:
        raise UserError(f"{file} has no column {column}, only {', '.join(names)}: name the column of token ids")


def _require_known(
    ids: np.ndarray, starts: np.ndarray, tokenizer: TokenizerFile, file: str, what: str, first: int
) -> None:
    """Raises UserError where an id is none of the tokenizer's."""
    if len(ids) and (ids.max() >= tokenizer.vocab_size or ids.min() < 0):
        place = int(np.flatnonzero((ids >= tokenizer.vocab_size) | (ids < 0))[0])
        number = first + int(np.searchsorted(starts, place, side="right")) - 1
        raise UserError(
            f"{file}: {what} {number} has the token id {ids[place]}, {tokenizer.url} has ids from 0 to "
            f"{tokenizer.vocab_size - 1}: it is damaged or was made with another tokenizer"
        )


def _tokenizer(url: str, end_of_text: str) -> TokenizerFile:
    url = storage.absolute(url)
    if not storage.exists(url) or Path(url).suffix != ".json":
        raise UserError(f"{url} is no tokenizer.json: name the one that the tokens were made with")
    sha256 = storage.sha256_of(url)
    loaded = load_tokenizer(url, sha256)
    special = {
        token.content: index for index, token in sorted(loaded.get_added_tokens_decoder().items()) if token.special
    }
    closing = loaded.token_to_id(end_of_text)
    if closing is None:
        raise UserError(
            f"{url} has no token {end_of_text}: name the one that closes a document; its special tokens are "
            f"{', '.join(special) or 'none'}"
        )
    try:
        token_byte_lengths(loaded)
    except KeyError as fault:
        raise UserError(
            f"{url} is a tokenizer neither on bytes nor on characters as ours are (it has a token with {fault}), so "
            "nobody knows how much text a token stands for: tokens of such tokenizers are not imported"
        ) from fault
    return TokenizerFile(url, sha256, id_bound(loaded), special, closing, special.get(PADDING, closing))
