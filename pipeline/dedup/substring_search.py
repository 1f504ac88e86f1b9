"""Finding runs of tokens that stood before in the corpus: the steps of `substring_dedup`, out of core.

    windows (two files a shard: hashes partitioned by hash, token counts) -> copies (a file a partition, partitioned by
    shard) -> removals (a file a shard)

A map task writes hash and place of every run of exactly n tokens; a reducer names for each the first place of its hash;
the last step joins consecutive ones, reads both texts and compares their bytes. Spans longer than n tokens are unions
of such windows, so all of them are found, and none that is none.

Decisions: a token's place is its number within its shard: 4 bytes, and two windows of a shard overlap exactly when
their numbers differ by less than n. Hashes have 64 bits: among 10^11 windows some 300 share one with a stranger, and
those may be missed, never cut.

Cost: 12 bytes on disk for each token. Memory of a map task is some 10 times the text of its shard, of a reducer
5 to 7 times that of its partition, of the last step 1 byte for each token of the shard, 40 for each that may be a copy,
and 6 times `PART_BYTES` (or the two largest texts).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.partitions import partition_name, read_partition, read_partitions, write_partitions
from pipeline.dedup.phases import partition_tasks, run_phase, shard_tasks, text_tasks
from pipeline.shard import StageDirectory, fingerprint, read_batches, shard_name
from pipeline.stage import Runner

KERNELS = ("words", "substrings")
"""Kernel modules that the tasks use."""
PART_BYTES = 4 << 20
"""Text that is compared at a time. Changes no result."""

_WINDOWS_SCHEMA = pa.schema([("hash", pa.uint64()), ("token", pa.uint32())])
_TOKENS_SCHEMA = pa.schema([("end", pa.int64())])
"""One row for each document of a shard: tokens up to its end."""
_COPIES_SCHEMA = pa.schema([("token", pa.uint32()), ("original_shard", pa.int32()), ("original", pa.uint32())])
"""One row for each window that stood before: its place, and the first one's."""
REMOVALS_SCHEMA = pa.schema(
    [("row", pa.int64()), ("token", pa.int64()), ("tokens", pa.int64()), ("kept_id", pa.string())]
)
"""One row for each maximal run of tokens that stood before: document in the shard, first token, length, and the
document in which the longest piece of it stood first."""


def find_substrings(
    corpus: StageDirectory,
    directory: str,
    runner: Runner,
    name: str,
    stamp: str,
    size: int,
    within_documents: bool,
    partition_bytes: int,
) -> str:
    """Find what stood before in every shard, below `directory`/removals; returns a fingerprint of it all.

    Args:
        corpus: The finished corpus to search.
        directory: Where everything goes.
        runner: Runs the tasks.
        name: The stage's name, for progress.
        stamp: Fingerprint of the corpus and of all settings that decide which windows are equal.
        size: Fewest tokens of a span.
        within_documents: Whether a span that a document itself had before goes as well.
        partition_bytes: Text whose windows one reducer handles.
    """
    partitions = -(-sum(shard.text_bytes for shard in corpus.shards) // partition_bytes) or 1
    cut = fingerprint(stamp, partitions)
    contents = {step: f"{name} {step} {cut}" for step in ("windows", "tokens", "copies")}
    folders = {step: storage.join(directory, step) for step in ("windows", "copies", "removals")}
    found = run_phase(
        runner,
        folders["windows"],
        f"{name}: windows",
        text_tasks(
            write_windows,
            folders["windows"],
            corpus,
            {"partitions": partitions, "contents": contents, "size": size},
            (contents,),
            KERNELS,
        ),
    )
    copied = run_phase(
        runner,
        folders["copies"],
        f"{name}: copies",
        partition_tasks(
            write_copies,
            folders["copies"],
            partitions,
            {"windows": folders["windows"], "shards": len(corpus.shards), "contents": contents, "size": size},
            (found, contents),
            KERNELS,
        ),
    )
    stamp = fingerprint(stamp, within_documents)
    return run_phase(
        runner,
        folders["removals"],
        f"{name}: removals",
        shard_tasks(
            write_removals,
            folders["removals"],
            len(corpus.shards),
            {
                "corpus": corpus.url,
                "windows": folders["windows"],
                "copies": folders["copies"],
                "partitions": partitions,
                "contents": contents,
                "name": name,
                "stamp": stamp,
                "size": size,
                "within_documents": within_documents,
            },
            (copied, stamp),
            KERNELS,
        ),
    )


def removals_content(name: str, stamp: str, shard: int) -> str:
    """What the file of removals of a shard says it holds."""
    return f"{name} removals from {shard_name(shard)} {stamp}"


def write_windows(
    directory: str, path: str, shard: int, partitions: int, contents: dict[str, str], size: int
) -> dict[str, Any]:
    """Task: hash and place of all windows of one shard, partitioned by hash; tokens of its documents."""
    from pipeline.kernels.column import text_column
    from pipeline.kernels.substrings import window_hashes
    from pipeline.kernels.words import split_words

    hashes, places, document_ends = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)], [np.empty(0, np.int64)]
    before = 0
    for batch in read_batches(path):
        column = text_column(batch["text"])
        tokens = split_words(column, "unicode")
        if before + len(tokens.starts) >= 1 << 32:
            raise ValueError(f"{path} has more than 2^32 tokens: write smaller shards")
        found, firsts = window_hashes(column.data, tokens.starts, tokens.ends, tokens.offsets, size)
        hashes.append(found)
        places.append((before + firsts).astype(np.uint32))
        document_ends.append(before + tokens.offsets[1:])
        before += len(tokens.starts)
    windows = pa.table([np.concatenate(hashes), np.concatenate(places)], schema=_WINDOWS_SCHEMA)
    partition = (windows["hash"].to_numpy() % np.uint64(partitions)).astype(np.int64)
    counts = pa.table([np.concatenate(document_ends)], schema=_TOKENS_SCHEMA)
    names = f"{shard_name(shard)}.arrow", f"{shard_name(shard)}.tokens.arrow"
    urls = [storage.join(directory, name) for name in names]
    files = {
        names[0]: write_partitions(urls[0], windows, partition, partitions, contents["windows"]),
        names[1]: write_partitions(urls[1], counts, np.zeros(len(counts), np.int64), 1, contents["tokens"]),
    }
    return {"files": files, "tokens": before, "windows": len(windows)}


def write_copies(
    directory: str, windows: str, shards: int, partition: int, partitions: int, contents: dict[str, str], size: int
) -> dict[str, Any]:
    """Task: the windows of one partition of the hashes that stood before, partitioned by shard."""
    from pipeline.kernels.substrings import first_rows

    hashes, token, bounds = _read_windows(windows, shards, partition, partitions, contents["windows"])
    rows = len(hashes)
    firsts = first_rows(hashes)
    del hashes
    copy = np.flatnonzero(firsts != np.arange(rows))
    original = firsts[copy]
    del firsts
    shard, original_shard = (np.searchsorted(bounds, row, side="right") - 1 for row in (copy, original))
    # What overlaps its original is the original's repeating itself: the first `size` tokens of that stay.
    apart = (shard != original_shard) | (token[copy].astype(np.int64) - token[original] >= size)
    columns = [token[copy][apart], original_shard[apart].astype(np.int32), token[original][apart]]
    name = f"{partition_name(partition)}.arrow"
    sha256 = write_partitions(
        storage.join(directory, name),
        pa.table(columns, schema=_COPIES_SCHEMA),
        shard[apart],
        shards,
        contents["copies"],
    )
    return {"files": {name: sha256}, "windows": rows, "copies": int(apart.sum())}


def _read_windows(
    windows: str, shards: int, partition: int, partitions: int, content: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hash and token of the windows of a partition, shard after shard, and int64 [shards + 1]: where each begins."""
    hashes, tokens = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
    for shard in range(shards):
        rows = read_partition(storage.join(windows, f"{shard_name(shard)}.arrow"), partition, partitions, content)
        hashes.append(rows["hash"].to_numpy())
        tokens.append(rows["token"].to_numpy())
    bounds = np.cumsum([0, *map(len, tokens[1:])])
    token = np.concatenate(tokens)
    del tokens
    return _frozen(np.concatenate(hashes)), token, bounds


def write_removals(
    directory: str,
    corpus: str,
    windows: str,
    copies: str,
    shard: int,
    partitions: int,
    contents: dict[str, str],
    name: str,
    stamp: str,
    size: int,
    within_documents: bool,
) -> dict[str, Any]:
    """Task: the maximal runs of tokens of one shard that stood before, each compared with what it copies."""
    numbered = NumberedCorpus(corpus)
    files = [storage.join(copies, f"{partition_name(partition)}.arrow") for partition in range(partitions)]
    rows = read_partitions(files, shard, numbered.shards, contents["copies"])
    token, original_shard, original = (
        rows[field].to_numpy().astype(kind)
        for field, kind in zip(_COPIES_SCHEMA.names, (np.int64, np.int32, np.int64), strict=True)
    )
    order = np.argsort(token)
    token, original_shard, original = token[order], original_shard[order], original[order]
    begins = np.ones(len(token), bool)
    begins[1:] = (np.diff(token) != 1) | (np.diff(original_shard) != 0) | (np.diff(original) != 1)
    heads = np.flatnonzero(begins)
    length = np.diff(np.append(heads, len(token)))
    token, original_shard, original = token[heads], original_shard[heads], original[heads]

    ends = _token_ends(windows, shard, contents)
    row, _ = _placed(ends, token)
    original_document = np.empty(len(token), np.int64)
    original_place = np.empty(len(token), np.int64)
    for other in np.unique(original_shard).tolist():
        inside = original_shard == other
        there, place = _placed(_token_ends(windows, other, contents), original[inside])
        original_document[inside], original_place[inside] = numbered.starts[other] + there, place
    document = numbered.starts[shard] + row
    if not within_documents:
        # The original is the first of the corpus: where it is in the document itself, no other one had it before.
        between = document != original_document
        token, document, length = token[between], document[between], length[between]
        original_document, original_place = original_document[between], original_place[between]
    removed, proven = _proven(numbered, shard, ends, token, document, original_document, original_place, length, size)

    edges = np.flatnonzero(np.diff(np.concatenate([[False], removed, [False]])))
    starts, stops = edges[::2], edges[1::2]
    # A run that goes on in the next document is two.
    inner = np.unique(ends)
    inner = inner[(inner > 0) & (inner < len(removed))]
    inner = inner[removed[inner - 1] & removed[inner]]
    starts, stops = np.union1d(starts, inner), np.union1d(stops, inner)
    row, place = _placed(ends, starts)
    kept = _kept(starts, token[proven > 0], proven[proven > 0], original_document[proven > 0])
    table = pa.table([row, place, stops - starts, _ids(numbered, kept)], schema=REMOVALS_SCHEMA)
    content = removals_content(name, stamp, shard)
    file = f"{shard_name(shard)}.arrow"
    sha256 = write_partitions(storage.join(directory, file), table, np.zeros(len(table), np.int64), 1, content)
    return {
        "files": {file: sha256},
        "spans": len(table),
        "tokens": int(removed.sum()),
        "windows_not_equal": int(length.sum() - proven.sum()),
    }


def _kept(starts: np.ndarray, token: np.ndarray, windows: np.ndarray, original_document: np.ndarray) -> np.ndarray:
    """The original of the longest run in each span, the first of several.

    starts int64 [spans], ascending; token, windows, original_document int64 [runs] -> int64 [spans].
    """
    span = np.searchsorted(starts, token, side="right") - 1
    order = np.lexsort((token, -windows, span))
    return original_document[order[np.flatnonzero(np.diff(span[order], prepend=-1))]]


def _ids(numbered: NumberedCorpus, documents: np.ndarray) -> pa.Array:
    different, places = np.unique(documents, return_inverse=True)
    return numbered.take("id", different).cast(pa.string()).take(pa.array(places))


def _proven(
    numbered: NumberedCorpus,
    shard: int,
    ends: np.ndarray,
    token: np.ndarray,
    document: np.ndarray,
    original_document: np.ndarray,
    original_place: np.ndarray,
    length: np.ndarray,
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens of the shard are copies in truth, bool [tokens], and how many windows of each run, int64 [runs]."""
    from pipeline.kernels.column import text_column
    from pipeline.kernels.substrings import mark_copies
    from pipeline.kernels.words import split_words

    starts = ends - np.diff(ends, prepend=0)
    removed = np.zeros(int(ends[-1]) if len(ends) else 0, bool)
    proven = np.zeros(len(token), np.int64)
    order = np.lexsort((token, document, original_document))
    fresh_original = np.ones(len(order), bool)
    fresh_original[1:] = np.diff(original_document[order]) != 0
    fresh = fresh_original.copy()
    fresh[1:] |= np.diff(document[order]) != 0
    budget = np.zeros(len(order), np.int64)
    budget[fresh_original] += numbered.text_bytes(original_document[order][fresh_original])
    budget[fresh] += numbered.text_bytes(document[order][fresh])
    part = np.cumsum(budget) // PART_BYTES
    for begin, end in pairwise([0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(order)]):
        runs = order[begin:end]
        if not len(runs):
            continue
        members, places = np.unique(np.concatenate([document[runs], original_document[runs]]), return_inverse=True)
        column = text_column(numbered.take("text", members))
        tokens = split_words(column, "unicode")
        first, original = np.split(tokens.offsets[:-1][places], 2)
        marked, found = mark_copies(
            column.data,
            tokens.starts,
            tokens.ends,
            first + token[runs] - starts[document[runs] - numbered.starts[shard]],
            original + original_place[runs],
            length[runs],
            size,
        )
        proven[runs] = found
        place = np.flatnonzero(marked)
        member = np.searchsorted(tokens.offsets, place, side="right") - 1
        removed[starts[members[member] - numbered.starts[shard]] + place - tokens.offsets[member]] = True
    return removed, proven


def read_removals(directory: str, shard: int, content: str) -> pa.Table:
    """The rows of `REMOVALS_SCHEMA` of one shard.

    Raises:
        UserError: the file is missing, damaged, or of other settings.
    """
    return read_partition(storage.join(directory, f"{shard_name(shard)}.arrow"), 0, 1, content)


def _token_ends(windows: str, shard: int, contents: dict[str, str]) -> np.ndarray:
    url = storage.join(windows, f"{shard_name(shard)}.tokens.arrow")
    ends: np.ndarray = read_partition(url, 0, 1, contents["tokens"])["end"].to_numpy()
    return ends


def _placed(ends: np.ndarray, token: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Document in the shard of each token of the shard, and its number in the document."""
    row = np.searchsorted(ends, token, side="right")
    return row, token - np.append(0, ends)[row]


def _frozen(values: np.ndarray) -> np.ndarray:
    view = np.ascontiguousarray(values).view()
    view.flags.writeable = False
    return view
