"""The process groups of a layout: which processes a message goes to.

One group for each axis of the layout that this process takes part in. A group of the whole world is the default one;
others are made by all processes in the same order, as torch asks. `ModelParallelUnit` says the same in the words that
DeepSpeed asks for ("mpu"), so that its data-parallel messages stay among the copies of one shard.
"""

from dataclasses import dataclass

from torch import distributed
from torch.distributed import ProcessGroup

from trainer.parallel.layout import Axis, Coordinates, Layout
from trainer.parallel.tensor_group import TensorGroup
from trainer.ranks import TIMEOUT


@dataclass(frozen=True)
class ProcessGroups:
    """The groups of one process, and its place in them."""

    layout: Layout
    place: Coordinates
    """Where this process stands."""
    data: ProcessGroup
    """The copies of this process's weights."""
    tensor: ProcessGroup
    """The processes that share its layers."""
    pipeline: ProcessGroup
    """The stages of its copy."""

    @property
    def tensor_group(self) -> TensorGroup:
        """The tensor ranks as the layers know them."""
        size = self.layout.tensor
        if size == 1:
            return TensorGroup()
        return TensorGroup(self.place.tensor, size, self.tensor, self.layout.sequence)

    def close(self) -> None:
        """Release the groups that were made."""
        for group in (self.data, self.tensor, self.pipeline):
            if group is not distributed.group.WORLD:
                distributed.destroy_process_group(group)


def make_groups(layout: Layout, rank: int) -> ProcessGroups:
    """The groups of process `rank`; every process of the world must call it."""
    data, tensor, pipeline = (_group_of(layout, axis, rank) for axis in ("data", "tensor", "pipeline"))
    return ProcessGroups(layout, layout.coordinates(rank), data, tensor, pipeline)


def _group_of(layout: Layout, axis: Axis, rank: int) -> ProcessGroup:
    mine: ProcessGroup | None = None
    for members in layout.groups(axis):
        whole = len(members) == layout.world
        group = distributed.group.WORLD if whole else distributed.new_group(members, timeout=TIMEOUT)
        if rank in members:
            mine = group
    assert mine is not None
    return mine


class ModelParallelUnit:
    """What DeepSpeed's engine without a pipeline asks about tensor and data parallelism."""

    def __init__(self, groups: ProcessGroups) -> None:
        self._groups = groups

    def get_model_parallel_rank(self) -> int:
        """Tensor rank of this process."""
        return self._groups.place.tensor

    def get_model_parallel_world_size(self) -> int:
        """Processes that share a layer."""
        return self._groups.layout.tensor

    def get_model_parallel_group(self) -> ProcessGroup:
        """The processes that share this one's layers."""
        return self._groups.tensor

    def get_data_parallel_rank(self) -> int:
        """Which copy this process is of."""
        return self._groups.place.data

    def get_data_parallel_world_size(self) -> int:
        """Number of copies."""
        return self._groups.layout.data

    def get_data_parallel_group(self) -> ProcessGroup:
        """The copies of this process's weights."""
        return self._groups.data

    def get_data_parallel_group_ranks(self) -> list[int]:
        """The world ranks of those copies."""
        return [int(rank) for rank in distributed.get_process_group_ranks(self._groups.data)]
