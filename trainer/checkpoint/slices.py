"""Where the values of a piece lie in the full tensor: arithmetic, so that any layout can read what any other wrote.

A tensor is cut along one dimension into tensor-parallel slices, each made of one or more runs of that dimension (query,
key and value are cut one by one), and each flattened slice is cut again, anywhere, into the pieces that processes
hold. Seen as a matrix [values before the dimension, values from it on], a run is a range of columns and a piece is at
most three rectangles: the end of a row, whole rows, the beginning of a row. Copying between two layouts is copying the
intersections of their rectangles, and costs no memory for positions.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trainer.model.declaration import ParameterDeclaration
from trainer.optim.kinds import state_declaration


@dataclass(frozen=True)
class Run:
    """Consecutive places of the cut dimension that lie together in the full tensor and in a slice."""

    full: int
    """First place in the full tensor."""
    local: int
    """First place in the slice."""
    length: int
    """How many."""


@dataclass(frozen=True)
class Slicing:
    """How a tensor is cut into slices."""

    shape: tuple[int, ...]
    """Full shape."""
    dimension: int
    """The cut dimension; 0 where nothing is cut."""
    local_length: int
    """Length of the cut dimension in each slice; longer than the runs where a slice is padded with zeros."""
    runs: tuple[tuple[Run, ...], ...]
    """The runs of each slice."""

    @property
    def size(self) -> int:
        """Number of slices."""
        return len(self.runs)

    @property
    def local_shape(self) -> tuple[int, ...]:
        """Shape of each slice."""
        return (*self.shape[: self.dimension], self.local_length, *self.shape[self.dimension + 1 :])

    @property
    def local_count(self) -> int:
        """Values of each slice."""
        return math.prod(self.local_shape)

    @property
    def count(self) -> int:
        """Values of the full tensor."""
        return math.prod(self.shape)

    @property
    def inner(self) -> int:
        """Values of one place of the cut dimension."""
        return math.prod(self.shape[self.dimension + 1 :])

    def problem(self) -> str | None:
        """Why the slices do not make up the tensor, or None when they do: every place once, none outside."""
        if not 0 <= self.dimension < max(1, len(self.shape)):
            return f"dimension {self.dimension} of shape {self.shape}"
        at = 0
        for run in sorted((run for runs in self.runs for run in runs), key=lambda run: run.full):
            if run.full != at or run.length < 1:
                return f"place {at} of dimension {self.dimension} is in no slice, or in two"
            at += run.length
        if at != (self.shape[self.dimension] if self.shape else 1):
            return f"the slices hold {at} places of dimension {self.dimension} of {self.shape}"
        for runs in self.runs:
            at = 0
            for run in sorted(runs, key=lambda run: run.local):
                if run.local < at or run.local + run.length > self.local_length:
                    return "runs of a slice overlap, or go beyond it"
                at = run.local + run.length
        return None


def whole(shape: tuple[int, ...], dimension: int = 0) -> Slicing:
    """A tensor that is not cut, seen as a matrix whose rows begin at `dimension`."""
    length = shape[dimension] if shape else 1
    return Slicing(shape, dimension, length, ((Run(0, 0, length),),))


def alike(one: Slicing, other: Slicing) -> tuple[Slicing, Slicing]:
    """Two slicings of a tensor, seen as matrices of the same form; what is not cut may be seen in any.

    Raises ValueError when both are cut, along different dimensions.
    """
    if one.size == 1:
        return whole(one.shape, other.dimension), other
    if other.size == 1:
        return one, whole(other.shape, one.dimension)
    if one.dimension != other.dimension:
        raise ValueError(f"cut along dimension {other.dimension} instead of {one.dimension}")
    return one, other


def slicing_of(declaration: ParameterDeclaration, kind: str, size: int) -> Slicing:
    """How one kind of value of a parameter is cut among `size` tensor ranks.

    Raises ValueError when it cannot be cut into so many.
    """
    stored = state_declaration(declaration, kind)
    partition = stored.partition
    if partition is None or size == 1:
        return whole(stored.shape)
    return Slicing(
        stored.shape,
        partition.dimension,
        stored.local_shape(size)[partition.dimension],
        tuple(
            tuple(
                Run(full.start, local.start, full.stop - full.start)
                for full, local in stored.slices(rank, size)
                if full.stop > full.start
            )
            for rank in range(size)
        ),
    )


@dataclass(frozen=True)
class Rectangle:
    """Rows and columns of the full tensor, and where they lie in a flattened slice."""

    top: int
    bottom: int
    left: int
    right: int
    first: int
    """Place of (top, left) in the flattened slice."""
    stride: int
    """Values from one row to the next in the flattened slice."""


def rectangles(slicing: Slicing, rank: int, start: int, stop: int) -> Iterator[Rectangle]:
    """What the values from `start` to `stop` of a flattened slice are of the full tensor; padding is left out."""
    inner = slicing.inner
    stride = slicing.local_length * inner
    if stop <= start or stride == 0:
        return
    for top, bottom, left, right in _bands(start, stop, stride):
        for run in slicing.runs[rank]:
            first, last = max(left, run.local * inner), min(right, (run.local + run.length) * inner)
            if first < last:
                moved = (run.full - run.local) * inner
                yield Rectangle(top, bottom, first + moved, last + moved, top * stride + first, stride)


def _bands(start: int, stop: int, stride: int) -> Iterator[tuple[int, int, int, int]]:
    """Rows and columns of a range of a flattened matrix: rest of a row, whole rows, beginning of a row."""
    row, column = divmod(start, stride)
    last_row, last_column = divmod(stop, stride)
    if row == last_row:
        yield row, row + 1, column, last_column
        return
    if column:
        yield row, row + 1, column, stride
        row += 1
    if row < last_row:
        yield row, last_row, 0, stride
    if last_column:
        yield last_row, last_row + 1, 0, last_column


@dataclass(frozen=True)
class Overlap:
    """Values that two pieces share: a rectangle, and where it lies in the slice of each."""

    rows: int
    columns: int
    ours: int
    our_stride: int
    theirs: int
    their_stride: int


def overlap(our: Rectangle, their: Rectangle) -> Overlap | None:
    """The values that both rectangles hold, or None."""
    top, bottom = max(our.top, their.top), min(our.bottom, their.bottom)
    left, right = max(our.left, their.left), min(our.right, their.right)
    if top >= bottom or left >= right:
        return None

    def place(of: Rectangle) -> int:
        return of.first + (top - of.top) * of.stride + (left - of.left)

    return Overlap(bottom - top, right - left, place(our), our.stride, place(their), their.stride)
