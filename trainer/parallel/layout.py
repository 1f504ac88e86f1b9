"""How a run is spread over processes: pure arithmetic, so it also answers `--dry-run` without torch.

world = data x tensor x pipeline. What is supported is one table, `trainer.parallel.refusals`. A global batch
is cut into one contiguous block of rows a data-parallel copy, and a block into micro-batches; neither cut changes the
sum that the gradient is of.

Ranks are numbered as by DeepSpeed's PipeModelDataParallelTopology: tensor ranks of a group are neighbours, so that
they share a node and its fast links; then copies; stages, which send least, lie farthest apart.
"""

from dataclasses import dataclass, replace
from typing import Literal

from trainer.parallel.compatibility import LayoutRefused, Request
from trainer.parallel.refusals import problems_of
from trainer.settings import ModelSettings, TrainingSettings

Axis = Literal["data", "tensor", "pipeline"]

CPU_PROCESSES = 2
"""Data-parallel copies on CPU when none are asked for: shows on a laptop what happens on a cluster."""


@dataclass(frozen=True)
class Coordinates:
    """Where a process stands in the layout."""

    data: int
    """Which data-parallel copy."""
    pipeline: int
    """Which stage: group of consecutive layers."""
    tensor: int
    """Which part of each layer."""


@dataclass(frozen=True)
class Layout:
    """Everything that follows from the settings and the number of devices."""

    data: int
    """Data-parallel copies."""
    tensor: int
    """Processes that share each layer."""
    pipeline: int
    """Stages: groups of consecutive layers."""
    zero: int
    """ZeRO stage."""
    rows_per_step: int
    """Rows of the global batch, once a ramp has ended."""
    micro_batch_size: int
    """Rows in one forward pass; never more than a copy has."""
    sequence: bool = False
    """Whether norms and dropout are shared out by tokens among the tensor ranks."""

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.data * self.tensor * self.pipeline

    @property
    def rows_per_rank(self) -> int:
        """Rows of a step that one data-parallel copy works on."""
        return self.rows_per_step // self.data

    @property
    def accumulation_steps(self) -> int:
        """Forward passes of a process in one step; the last may have fewer rows."""
        return len(self.micro_batches())

    def coordinates(self, rank: int) -> Coordinates:
        """Where process `rank` stands; raises ValueError when there is no such process."""
        if not 0 <= rank < self.world:
            raise ValueError(f"rank {rank} is none of {self.world} processes")
        copy, tensor = divmod(rank, self.tensor)
        stage, data = divmod(copy, self.data)
        return Coordinates(data=data, pipeline=stage, tensor=tensor)

    def rank_of(self, data: int = 0, pipeline: int = 0, tensor: int = 0) -> int:
        """The process at these coordinates."""
        return (pipeline * self.data + data) * self.tensor + tensor

    def groups(self, axis: Axis) -> list[list[int]]:
        """The processes that differ in `axis` alone, ascending; each process is in exactly one group."""
        gathered: dict[Coordinates, list[int]] = {}
        for rank in range(self.world):
            gathered.setdefault(replace(self.coordinates(rank), **{axis: 0}), []).append(rank)
        return list(gathered.values())

    def is_counted(self, rank: int) -> bool:
        """True for one process of each copy, tensor rank 0 of the last stage: where each loss is summed once."""
        place = self.coordinates(rank)
        return place.tensor == 0 and place.pipeline == self.pipeline - 1

    def rows_of(self, data_rank: int, rows: int | None = None) -> slice:
        """The part of a global batch of `rows` rows (None: `rows_per_step`) that copy `data_rank` computes."""
        share = self._share(rows)
        return slice(data_rank * share, (data_rank + 1) * share)

    def micro_batches(self, rows: int | None = None) -> list[slice]:
        """The pieces of a copy's part of a global batch of `rows` rows (None: `rows_per_step`), in order."""
        size, share = self.micro_batch_size, self._share(rows)
        return [slice(at, min(at + size, share)) for at in range(0, share, size)]

    def _share(self, rows: int | None) -> int:
        rows = self.rows_per_step if rows is None else rows
        if rows % self.data:
            raise ValueError(f"{rows} rows cannot be divided among {self.data} data-parallel copies")
        return rows // self.data


def plan_layout(
    settings: TrainingSettings,
    context_length: int,
    *,
    gpus: int,
    cores: int,
    model: ModelSettings | None = None,
    devices: int | None = None,
) -> Layout:
    """The layout of a run on a machine with these GPUs and cores, or, where given, on `devices` processes.

    Raises LayoutRefused with every entry of the table of `trainer.parallel.refusals` that applies.
    """
    parallel = settings.parallel
    request = Request(settings, context_length, model, devices, (gpus or None) if devices is None else None)
    if request.copies is None and request.rows is not None and not (gpus or devices):
        data = _largest_divisor(request.rows, min(CPU_PROCESSES, cores // request.share))
        parallel = parallel.model_copy(update={"data": data})
        request = replace(request, settings=settings.model_copy(update={"parallel": parallel}))
    if problems := problems_of(request):
        raise LayoutRefused(problems)
    assert request.copies is not None
    assert request.rows is not None
    return Layout(
        data=request.copies,
        tensor=parallel.tensor,
        pipeline=parallel.pipeline,
        zero=settings.zero,
        rows_per_step=request.rows,
        micro_batch_size=min(settings.micro_batch_size, request.rows // request.copies),
        sequence=parallel.sequence,
    )


def _largest_divisor(number: int, limit: int) -> int:
    return next(candidate for candidate in range(max(1, limit), 0, -1) if number % candidate == 0)
