"""Tables cut into partitions inside one file: what map tasks hand to reduce tasks.

A map task writes one file in which the rows of each partition are one record batch of an Arrow IPC file; the file's
footer is the offset index. So a reducer reads its own batch of each file (a range request on an object store), and
there are as many files as map tasks, not map tasks x partitions.

Decisions: the schema's metadata says what the file holds and with which settings it was made. A file that is
missing, truncated or made with other settings is an error that names it: a reducer that skipped it would report
too few duplicates and nobody would notice.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.errors import UserError

_CONTENT = b"gptmill_content"


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
    sorted_rows = table.take(pa.array(order)).combine_chunks().replace_schema_metadata({_CONTENT: content.encode()})
    bounds = np.searchsorted(partition[order], np.arange(partitions + 1)).tolist()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, sorted_rows.schema) as writer:
        for begin, end in pairwise(bounds):
            batches = sorted_rows.slice(begin, end - begin).to_batches()
            writer.write_batch(batches[0] if batches else pa.RecordBatch.from_pylist([], schema=sorted_rows.schema))
    data = sink.getvalue()
    with storage.write_atomically(url) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def read_partition(url: str, partition: int, partitions: int, content: str) -> pa.Table:
    """The rows of one partition of a file; memory-mapped on local disk.

    Raises:
        UserError: the file is missing, damaged, or holds something else than `content` in `partitions` parts.
    """
    remedy = "remove it and its record (the .json of the same name) and run the same command again"
    try:
        if storage.is_local(url):
            source = pa.memory_map(str(storage.local_path(url)))
        else:
            source = pa.PythonFile(storage.open_binary(url), mode="r")
        with pa.ipc.open_file(source) as reader:
            found = (reader.schema.metadata or {}).get(_CONTENT, b"").decode()
            if (found, reader.num_record_batches) != (content, partitions):
                raise UserError(
                    f"{url} holds '{found}' in {reader.num_record_batches} partitions, needed is '{content}' in "
                    f"{partitions}: {remedy}"
                )
            return pa.Table.from_batches([reader.get_batch(partition)]).replace_schema_metadata(None)
    except FileNotFoundError as fault:
        raise UserError(f"{url} is missing, though its step was finished: {remedy.replace('it and ', '')}") from fault
    except pa.ArrowInvalid as fault:
        raise UserError(f"{url} is damaged or truncated ({fault}): {remedy}") from fault


def read_partitions(urls: list[str], partition: int, partitions: int, content: str) -> pa.Table:
    """The rows of one partition of all files, file after file."""
    return pa.concat_tables([read_partition(url, partition, partitions, content) for url in urls])
