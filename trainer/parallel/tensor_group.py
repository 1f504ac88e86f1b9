"""Who shares a layer with whom: the one object that a layer must be given to be tensor-parallel.

No layer asks a global which process it is in, so the same process can hold a whole model (`ALONE`) beside its part of
a shared one, and a layer says all that it depends on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


@dataclass(frozen=True)
class TensorGroup:
    """The processes that share each layer, seen from one of them."""

    rank: int = 0
    """This process's number in the group."""
    size: int = 1
    """Processes in the group; 1: layers are whole and nothing is sent."""
    group: ProcessGroup | None = None
    """Their process group. None: all processes."""
    sequence: bool = False
    """Whether tokens are shared out between the layers (Megatron-style sequence parallelism)."""

    @property
    def splits_sequence(self) -> bool:
        """Whether what flows between layers is this process's part of the tokens only."""
        return self.sequence and self.size > 1


ALONE = TensorGroup()
"""A process that holds whole layers."""
