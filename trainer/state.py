"""The live state of a run as a process holds it, in pieces that say what they are.

A checkpoint in any layout is made of such pieces, and so is resuming in another one: a piece names the canonical
parameter, the kind of value, which tensor-parallel slice it belongs to, and the range of the flattened slice that it
holds. Sharding by ZeRO cuts flattened parameters anywhere, tensor parallelism cuts along a dimension; the two together
are described by (slice, range). Nothing here depends on DeepSpeed or torch beyond the tensors themselves.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT = "weight"
"""Kind of the fp32 weights themselves; every other kind is named by its optimizer."""


@dataclass(frozen=True)
class StatePiece:
    """A run of consecutive values of one parameter's state."""

    name: str
    """Canonical name of the parameter."""
    kind: str
    """What of it: "weight", "exp_avg", "exp_avg_sq", "momentum", "rows", "columns", ..."""
    local_shape: tuple[int, ...]
    """Shape of this process's tensor slice of that value; the whole shape where it is not cut."""
    tensor_rank: int
    """Which slice."""
    tensor_size: int
    """Of how many slices; 1 where the value is not cut."""
    start: int
    """Number of the first value within the flattened slice."""
    values: "Tensor"
    """1-D, fp32: a view of the live state. Writing into it changes the state."""

    @property
    def stop(self) -> int:
        """One past the last value within the flattened slice."""
        return self.start + self.values.numel()
