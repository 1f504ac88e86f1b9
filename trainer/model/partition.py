"""How one parameter is cut for tensor parallelism: arithmetic on indices, and the cut itself.

A matrix may hold several sub-matrices one after the other (queries, keys and values; gate and up): each is cut by
itself, so that a process has its share of every one of them. Only the vocabulary is cut in pieces that need not
divide it: all have ceil(vocabulary / size) rows and the last is filled up with zeros (Shoeybi et al. 2019, Megatron-LM,
section 3). `local` and `assemble` are exact inverses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Partition:
    """The dimension along which a parameter is cut, and into what."""

    dimension: int
    """0: outputs (column-parallel), 1: inputs (row-parallel)."""
    parts: tuple[int, ...]
    """Sizes of the sub-matrices along the dimension, in order; each is cut by itself."""
    padded: bool = False
    """Whether pieces may reach beyond the end, where they hold zeros."""

    def local_size(self, size: int) -> int:
        """Length of a process's piece along the dimension, padding included.

        Raises ValueError when a part cannot be divided among `size` processes.
        """
        return sum(self._piece(part, size) for part in self.parts)

    def slices(self, rank: int, size: int) -> list[tuple[slice, slice]]:
        """(place in the full parameter, place in the piece) along the dimension, a pair a part, without padding."""
        pairs = []
        full_start = local_start = 0
        for part in self.parts:
            piece = self._piece(part, size)
            start = min(rank * piece, part)
            length = min((rank + 1) * piece, part) - start
            pairs.append(
                (
                    slice(full_start + start, full_start + start + length),
                    slice(local_start, local_start + length),
                )
            )
            full_start += part
            local_start += piece
        return pairs

    def local(self, full: "Tensor", rank: int, size: int) -> "Tensor":
        """The piece of process `rank` of `size`: a copy, unless it is the whole."""
        if size == 1:
            return full
        shape = list(full.shape)
        shape[self.dimension] = self.local_size(size)
        piece = full.new_zeros(shape)
        for theirs, ours in self.slices(rank, size):
            _at(piece, self.dimension, ours).copy_(_at(full, self.dimension, theirs))
        return piece

    def assemble(self, pieces: Sequence["Tensor"]) -> "Tensor":
        """The full parameter from the pieces of all processes, in the order of their ranks; padding is dropped."""
        if len(pieces) == 1:
            return pieces[0]
        shape = list(pieces[0].shape)
        shape[self.dimension] = sum(self.parts)
        full = pieces[0].new_empty(shape)
        for rank, piece in enumerate(pieces):
            for theirs, ours in self.slices(rank, len(pieces)):
                _at(full, self.dimension, theirs).copy_(_at(piece, self.dimension, ours))
        return full

    def _piece(self, part: int, size: int) -> int:
        if part % size and not self.padded:
            raise ValueError(f"{part} cannot be divided among {size} processes")
        return -(-part // size)


def _at(tensor: "Tensor", dimension: int, place: slice) -> "Tensor":
    return tensor.narrow(dimension, place.start, place.stop - place.start)
