"""Rows of a token dataset from memory-mapped shards to a batch, in one pass whatever shards they lie in.

A shard is an array of its own, and numba cannot be given a list of arrays without a conversion that costs more than the
reading. So the kernel is given addresses: where in memory the tokens and documents of each record batch begin. The
caller holds the arrays behind them until the call returns.

Rows lie anywhere, so the kernel asks for the next one while it converts one. Cost: 0.7 ns a token, 0.9 ns with
its document's number, of a file in the page cache (bench.reader).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from pipeline.kernels.compiled import kernel

CACHE_LINE = 64


def _as_pointer(_: Any, address: Any) -> Any:
    """An int64 as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), generate


_pointer: Any = intrinsic(_as_pointer)


def _ask_for(_: Any, address: Any) -> Any:
    """Ask the processor for the cache line at an address, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        to_read, keep, data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(function, [pointer, to_read, keep, data])
        return context.get_dummy_value()

    return types.void(address), generate


_fetch: Any = intrinsic(_ask_for)


@kernel
def gather_rows(rows, end, firsts, tokens_at, offsets_at, ends_at, itemsize, tokens, segments, used):  # type: ignore[no-untyped-def]
    """Copy rows, and number the documents of each.

    Args:
        rows: int64 [B]: numbers of the rows, in any order.
        end: Behind the number of the last row; the blocks hold all rows that are asked for.
        firsts: int64 [blocks], ascending: number of the first row of each block.
        tokens_at: int64 [blocks]: address of its tokens, [rows, T + 1].
        offsets_at: int64 [blocks]: address of its int32 [rows + 1], where the document ends of a row begin.
        ends_at: int64 [blocks]: address of its uint32 document ends: target positions, ascending in a row.
        itemsize: Bytes of a stored token: 2 or 4, unsigned.
        tokens: int64 [B, T + 1], changed.
        segments: int32 [B, T], changed: number of the document that each target belongs to; padding is one more. Or
            of no rows: then documents are not looked at.
        used: int64 [B], changed with `segments`: end of the last document of each row.

    Returns:
        -1, or where in `rows` the first number stands that is no row; then nothing was copied.
    """
    width = tokens.shape[1]
    blocks = np.empty(len(rows), np.int64)
    for place in range(len(rows)):
        if not 0 <= rows[place] < end:
            return place
        low, high = 0, len(firsts)
        while high - low > 1:
            middle = (low + high) // 2
            if firsts[middle] <= rows[place]:
                low = middle
            else:
                high = middle
        blocks[place] = low
    for place in range(len(rows)):
        # Rows lie anywhere: while one is converted the next ones come from memory.
        if place + 2 < len(rows):
            ahead = blocks[place + 2]
            _fetch(offsets_at[ahead] + (rows[place + 2] - firsts[ahead]) * 4)
        if place + 1 < len(rows):
            ahead = blocks[place + 1]
            after = rows[place + 1] - firsts[ahead]
            for line in range(0, width * itemsize, CACHE_LINE):
                _fetch(tokens_at[ahead] + after * width * itemsize + line)
            _fetch(ends_at[ahead] + np.int64(carray(_pointer(offsets_at[ahead] + after * 4), (1,), np.int32)[0]) * 4)
        low = blocks[place]
        row = rows[place] - firsts[low]
        if itemsize == 2:
            narrow = carray(_pointer(tokens_at[low] + row * width * 2), (width,), np.uint16)
            for token in range(width):
                tokens[place, token] = narrow[token]
        else:
            wide = carray(_pointer(tokens_at[low] + row * width * 4), (width,), np.uint32)
            for token in range(width):
                tokens[place, token] = wide[token]
        if not len(segments):
            continue
        bounds = carray(_pointer(offsets_at[low] + row * 4), (2,), np.int32)
        documents = bounds[1] - bounds[0]
        ends = carray(_pointer(ends_at[low] + np.int64(bounds[0]) * 4), (documents,), np.uint32)
        start = 0
        for document in range(documents):
            stop = min(np.int64(ends[document]), width - 1)
            segments[place, start:stop] = document
            start = max(start, stop)
        segments[place, start:] = documents
        used[place] = start
    return -1


def warm_up() -> None:
    """Compile the kernels that Python calls."""
    stored = np.zeros((1, 2), np.uint16)
    offsets, ends = np.array([0, 1], np.int32), np.ones(1, np.uint32)
    tokens_at, offsets_at, ends_at = (np.array([array.ctypes.data]) for array in (stored, offsets, ends))
    rows = np.zeros(1, np.int64)
    tokens, segments, used = np.empty((1, 2), np.int64), np.empty((1, 1), np.int32), np.empty(1, np.int64)
    gather_rows(rows, 1, rows, tokens_at, offsets_at, ends_at, 2, tokens, segments, used)
