"""Arrow arrays over the memory of numpy's.

`pyarrow.array` would copy nothing either, but asks whether it was given something of pandas, and for that imports
pandas where it is installed: a sixth of a second of CPU for every command and worker.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def arrow_array(values: np.ndarray) -> pa.Array:
    """Numbers or booleans, one dimension, as an Arrow array of their type; numbers are not copied."""
    if values.dtype == np.bool_:
        bits = pa.py_buffer(np.packbits(values, bitorder="little"))
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, bits])
    content = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, content])


def text_array(texts: Sequence[str | None]) -> pa.Array:
    """Texts, none of them with a lone surrogate, as a string array; None is null."""
    encoded = [b"" if text is None else text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, encoded), np.int32, len(encoded)), out=offsets[1:])
    given = np.fromiter((text is not None for text in texts), np.bool_, len(encoded))
    nulls = None if given.all() else pa.py_buffer(np.packbits(given, bitorder="little"))
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [nulls, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def repeated_text(text: str, count: int) -> pa.Array:
    """The same text for each row."""
    content = text.encode()
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(len(content))
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(content * count)])


def empty_table(schema: pa.Schema) -> pa.Table:
    """A table of the schema without rows."""
    return pa.Table.from_arrays([pa.nulls(0, kind) for kind in schema.types], schema=schema)


def number_array(values: Sequence[float | None]) -> pa.Array:
    """Numbers as a float64 array; None is null."""
    given = np.fromiter((value is not None for value in values), np.bool_, len(values))
    numbers = np.fromiter((0.0 if value is None else value for value in values), np.float64, len(values))
    nulls = None if given.all() else pa.py_buffer(np.packbits(given, bitorder="little"))
    return pa.Array.from_buffers(pa.float64(), len(values), [nulls, pa.py_buffer(numbers)])


def numpy_array(column: pa.Array | pa.ChunkedArray, null: float | None = None) -> np.ndarray:
    """Numbers or booleans as numpy's, with `null` where there is none; what is in one chunk without nulls is a view."""
    if isinstance(column, pa.ChunkedArray):
        chunks = column.chunks or [pa.nulls(0, column.type)]
        column = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)
    begin, end = column.offset, column.offset + len(column)
    validity, content = column.buffers()
    if pa.types.is_boolean(column.type):
        values = _bits(content, begin, end)
    else:
        values = np.frombuffer(content or b"", column.type.to_pandas_dtype())[begin:end]
    if column.null_count:
        if null is None:
            raise ValueError("a column of numbers has nulls")
        values = np.where(_bits(validity, begin, end), values, np.asarray(null, values.dtype))
    return values


def _bits(content: pa.Buffer | None, begin: int, end: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(content or b"", np.uint8), count=end, bitorder="little")[begin:].view(np.bool_)
