"""Tables cut into partitions inside one file: what map tasks hand to reduce tasks.

A map task writes one file in which the rows of each partition are one record batch of an Arrow IPC file; the file's
footer is the offset index. So a reducer reads its own batch of each file (a range request on an object store), and
there are as many files as map tasks, not map tasks x partitions.

Decisions: the schema's metadata says what the file holds and with which settings it was made, and each partition has
a checksum (xxh3 of its bytes). A file that is missing, truncated, changed or made with other settings is an error that
names it: a reducer that skipped it would report too few duplicates and nobody would notice.

Cost of the checksums: one copy of a partition of one file, and 30 microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from pipeline import storage
from pipeline.arrays import arrow_array
from pipeline.errors import UserError
from pipeline.shard import HashingFile

_CONTENT = b"gptmill_content"
_CHECKSUM = "gptmill_xxh3"


def partition_name(partition: int) -> str:
    """The name of a reducer's task and, without its ending, of its file: `partition-00042`."""
    return f"partition-{partition:05d}"


def write_partitions(url: str, table: pa.Table, partition: np.ndarray, partitions: int, content: str) -> str:
    """Write the rows grouped by partition, in their order within each; returns the file's sha256.

    Args:
        url: Where the file appears, atomically.
        table: The rows, which fit in memory together with their sorted copy.
        partition: Partition of each row, integers in [0, partitions).
        partitions: Number of record batches of the file; a partition without rows is an empty batch.
        content: What the file holds and the fingerprint of the settings that made it.
    """
    order = np.argsort(partition, kind="stable")
    sorted_rows = table.take(arrow_array(order)).combine_chunks().replace_schema_metadata({_CONTENT: content.encode()})
    bounds = np.searchsorted(partition[order], np.arange(partitions + 1)).tolist()
    with storage.write_atomically(url) as file:
        sink = HashingFile(file)
        with pa.ipc.new_file(sink, sorted_rows.schema) as writer:
            # Slices of one batch, so that a dictionary is the same in all of them, empty ones included.
            columns = [column.chunk(0) if column.num_chunks else pa.nulls(0, column.type) for column in sorted_rows]
            whole = pa.RecordBatch.from_arrays(columns, schema=sorted_rows.schema)
            for begin, end in pairwise(bounds):
                part = whole.slice(begin, end - begin)
                writer.write_batch(part, custom_metadata={_CHECKSUM: _checksum(part)})
        return sink.sha256()


def read_partition(url: str, partition: int, partitions: int, content: str, mapped: bool = False) -> pa.Table:
    """The rows of one partition of a file, which is all that is read of it.

    `mapped`: leave the rows of a local file in it, for tables that are kept and searched.

    Raises:
        UserError: the file is missing, damaged, or holds something else than `content` in `partitions` parts.
    """
    with _opened(url, partitions, content, mapped) as reader:
        return _partition(reader, partition)


def read_partitions(urls: list[str], partition: int, partitions: int, content: str) -> pa.Table:
    """The rows of one partition of all files, file after file."""
    return pa.concat_tables([read_partition(url, partition, partitions, content) for url in urls])


def partitions_of(url: str, partitions: int, content: str) -> Iterator[pa.Table]:
    """All partitions of a file one after the other, which opens it once; raises what `read_partition` raises."""
    with _opened(url, partitions, content) as reader:
        for partition in range(partitions):
            yield _partition(reader, partition)


def _partition(reader: Any, partition: int) -> pa.Table:
    batch, given = reader.get_batch_with_custom_metadata(partition)
    # Offsets that point out of the file would end the process.
    batch.validate()
    # Files of before there were checksums have none.
    if given is not None and given.get(_CHECKSUM) != _checksum(batch).encode():
        raise pa.ArrowInvalid(f"partition {partition} is not what was written")
    return pa.Table.from_batches([batch]).replace_schema_metadata(None)


def _checksum(batch: pa.RecordBatch) -> str:
    """Of the columns and the rows as they lie in the file, wherever the batch begins in its buffers."""
    digest = xxhash.xxh3_64(batch.schema.remove_metadata().to_string().encode())
    digest.update(batch.serialize())
    return digest.hexdigest()


@contextmanager
def _opened(url: str, partitions: int, content: str, mapped: bool = False) -> Iterator[Any]:
    remedy = "remove it and run the same command again, which writes it anew"
    try:
        if storage.is_local(url):
            # Read unless asked: each of very many files would keep a mapping and 64 kB of neighbouring pages.
            source = (pa.memory_map if mapped else pa.OSFile)(str(storage.local_path(url)))
        else:
            source = pa.PythonFile(storage.open_binary(url), mode="r")
        with source, pa.ipc.open_file(source) as reader:
            found = (reader.schema.metadata or {}).get(_CONTENT, b"").decode()
            if (found, reader.num_record_batches) != (content, partitions):
                raise UserError(
                    f"{url} holds '{found}' in {reader.num_record_batches} partitions, needed is '{content}' in "
                    f"{partitions}: {remedy}"
                )
            yield reader
    except FileNotFoundError as fault:
        raise UserError(f"{url} is missing, though its step was finished: run the same command again") from fault
    except (pa.ArrowException, OSError, UnicodeDecodeError) as fault:
        # Of what it cannot decode pyarrow says `OSError` without a number; with one it is the system's.
        if isinstance(fault, OSError) and fault.errno is not None:
            raise
        raise UserError(f"{url} is damaged or truncated ({fault}): {remedy}") from fault
