"""Decides which part of which document stands where: documents in order to pieces in rows.

A piece is a part of one document that lies in one row. `split` cuts the stream of all documents wherever a row ends.
`best_fit` cuts only documents longer than a row, into full rows and a rest; rests and whole documents then go into rows
by best-fit decreasing. Rows come in the order of their first document, not of their lengths; a rest begins its row, so
that the input before it is the token that really came before. Where two rests share a row the second follows an
end-of-text token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KERNELS = ("packing",)


@dataclass(frozen=True)
class Pieces:
    """Parts of documents with their places, ordered by row and place; int64[pieces] each."""

    starts: np.ndarray
    """Where each begins in the tokens."""
    lengths: np.ndarray
    """Tokens of each, at least one."""
    document: np.ndarray
    """Which document it is of."""
    contexts: np.ndarray
    """The token before each: of its document, or end-of-text."""
    rows: np.ndarray
    """Row of each."""
    offsets: np.ndarray
    """First target position in the row."""

    def __len__(self) -> int:
        return len(self.starts)

    def where(self, mask: np.ndarray) -> Pieces:
        """Some of the pieces, numbered and placed as they are."""
        return Pieces(**{name: getattr(self, name)[mask] for name in self.__dataclass_fields__})


def split_documents(
    tokens: np.ndarray, starts: np.ndarray, order: np.ndarray, context_length: int, phase: int, end_of_text: int
) -> tuple[Pieces, np.ndarray]:
    """Cut a part of the stream of all documents into rows.

    Args:
        tokens: uint [tokens] of the documents, in any order.
        starts: int64[documents + 1]: where each begins; none is empty.
        order: int64[documents]: the order in which they come.
        context_length: Places in a row.
        phase: Place in a row, [0, context_length), at which this part of the stream begins.
        end_of_text: Context of a document's beginning.

    Returns:
        The pieces, rows from 0 on, and a mask of those in rows that reach beyond this part of the stream.
    """
    lengths = np.diff(starts)[order]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    row_ends = np.arange(context_length - phase, total, context_length)
    piece_ends = np.union1d(ends, row_ends)
    piece_starts = np.concatenate([[0], piece_ends[:-1]]).astype(np.int64)[: len(piece_ends)]
    place = np.searchsorted(ends, piece_ends)
    document = order[place]
    begins = starts[document] + piece_starts - (ends - lengths)[place]
    rows, offsets = np.divmod(piece_starts + phase, context_length)
    pieces = Pieces(
        begins,
        piece_ends - piece_starts,
        document,
        _contexts(tokens, starts, document, begins, end_of_text),
        rows,
        offsets,
    )
    first = 1 if phase else 0
    return pieces, (rows < first) | (rows >= (total + phase) // context_length)


def fit_documents(
    tokens: np.ndarray, starts: np.ndarray, order: np.ndarray, context_length: int, end_of_text: int
) -> Pieces:
    """Cut documents longer than a row into full rows and a rest, and put the others into rows uncut.

    Arguments as `split_documents`.
    """
    lengths = np.diff(starts)[order]
    full = np.maximum(lengths - 1, 0) // context_length
    parts = full + 1
    ranks = np.repeat(np.arange(len(order)), parts)
    part = np.arange(len(ranks)) - np.repeat(np.cumsum(parts) - parts, parts)
    document = order[ranks]
    begins = starts[document] + part * context_length
    piece_lengths = np.where(part < full[ranks], context_length, lengths[ranks] - full[ranks] * context_length)
    contexts = _contexts(tokens, starts, document, begins, end_of_text)
    return fit_pieces(begins, piece_lengths, document, contexts, part > 0, context_length)


def fit_pieces(
    starts: np.ndarray,
    lengths: np.ndarray,
    document: np.ndarray,
    contexts: np.ndarray,
    goes_on: np.ndarray,
    context_length: int,
) -> Pieces:
    """Put pieces that are no longer than a row into rows, by best-fit decreasing.

    `goes_on` marks those whose document began before them. Other arguments are the fields of `Pieces`.
    """
    from pipeline.kernels.packing import best_fit

    decreasing = np.argsort(-lengths, kind="stable")
    opened = best_fit(frozen(lengths), frozen(decreasing), context_length)
    first_of_row = np.full(int(opened.max(initial=-1)) + 1, len(lengths), np.int64)
    np.minimum.at(first_of_row, opened, np.arange(len(lengths)))
    rank = np.empty(len(first_of_row), np.int64)
    rank[np.argsort(first_of_row)] = np.arange(len(first_of_row))
    rows = rank[opened]
    by_place = np.lexsort((np.arange(len(rows)), ~goes_on, rows))
    rows, lengths = rows[by_place], lengths[by_place]
    before = np.cumsum(lengths) - lengths
    row_starts = before[np.searchsorted(rows, rows)]
    return Pieces(starts[by_place], lengths, document[by_place], contexts[by_place], rows, before - row_starts)


def frozen(values: np.ndarray) -> np.ndarray:
    """The array as kernels want it: int64 unless of tokens, contiguous, read-only."""
    array = np.ascontiguousarray(values) if values.dtype.kind == "u" else np.ascontiguousarray(values, np.int64)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def _contexts(
    tokens: np.ndarray, starts: np.ndarray, document: np.ndarray, begins: np.ndarray, end_of_text: int
) -> np.ndarray:
    inside = begins > starts[document]
    contexts = np.full(len(begins), end_of_text, np.int64)
    contexts[inside] = tokens[begins[inside] - 1]
    return contexts
