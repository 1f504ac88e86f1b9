"""How a run is spread over processes: pure arithmetic, so it also answers `--dry-run` without torch.

world = data x tensor x pipeline. What is supported is one table, `REFUSALS`: each entry is a condition and the
reason that the user reads. A global batch is cut into one contiguous block of rows a data-parallel copy, and a
block into micro-batches; neither cut changes the sum that the gradient is of.

Ranks are numbered as by DeepSpeed's PipeModelDataParallelTopology: tensor ranks of a group are neighbours, so that
they share a node and its fast links; then copies; stages, which send least, lie farthest apart.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.errors import UserError
from trainer.settings import ParallelSettings, TrainingSettings

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


@dataclass(frozen=True)
class Refusal:
    """A combination that does not work, and why."""

    applies: Callable[[ParallelSettings, int], bool]
    """Given the parallel settings and the ZeRO stage."""
    reason: str
    """What is refused and what to do, for the user."""


REFUSALS = (
    Refusal(
        lambda parallel, _: parallel.tensor > 1,
        "parallel.tensor above 1 is not yet supported in this version: set it to 1",
    ),
    Refusal(
        lambda parallel, _: parallel.pipeline > 1,
        "parallel.pipeline above 1 is not yet supported in this version: set it to 1",
    ),
)
"""The compatibility table: everything not listed is supported and tested."""


def plan_layout(settings: TrainingSettings, context_length: int, *, gpus: int, cores: int) -> Layout:
    """The layout of a run on a machine with these devices.

    Raises UserError when the combination is in `REFUSALS` or the batch cannot be divided.
    """
    parallel = settings.parallel
    for refusal in REFUSALS:
        if refusal.applies(parallel, settings.zero):
            raise UserError(refusal.reason)
    share = parallel.tensor * parallel.pipeline
    rows = _rows_per_step(settings, context_length)
    data = parallel.data
    if data is None:
        data = max(1, gpus // share) if gpus else _largest_divisor(rows, min(CPU_PROCESSES, cores))
    if rows % data:
        nearest = max(1, round(rows / data)) * data
        raise UserError(
            f"a global batch of {rows} rows ({rows * context_length} tokens) cannot be divided among {data} "
            f"data-parallel copies: the nearest that can is {nearest} rows ({nearest * context_length} tokens)"
        )
    return Layout(
        data=data,
        tensor=parallel.tensor,
        pipeline=parallel.pipeline,
        zero=settings.zero,
        rows_per_step=rows,
        micro_batch_size=min(settings.micro_batch_size, rows // data),
        sequence=parallel.sequence,
    )


def _rows_per_step(settings: TrainingSettings, context_length: int) -> int:
    try:
        return settings.rows_per_step(context_length)
    except ValueError as error:
        raise UserError(str(error)) from None


def _largest_divisor(number: int, limit: int) -> int:
    return next(candidate for candidate in range(max(1, limit), 0, -1) if number % candidate == 0)
