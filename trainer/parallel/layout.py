"""How a run is spread over processes: pure arithmetic, so it also answers `--dry-run` without torch.

world = data x tensor x pipeline. What is supported is one table, `REFUSALS`: each entry is a condition and the
reason that the user reads. A global batch is cut into one contiguous block of rows a data-parallel rank, and a
block into micro-batches; neither cut changes the sum that the gradient is of.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.errors import UserError
from trainer.settings import ParallelSettings, TrainingSettings

CPU_PROCESSES = 2
"""Data-parallel copies on CPU when none are asked for: shows on a laptop what happens on a cluster."""


@dataclass(frozen=True)
class Layout:
    """Everything that follows from the settings and the number of devices."""

    data: int
    """Data-parallel copies."""
    tensor: int
    """Processes that share each layer."""
    pipeline: int
    """Groups of consecutive layers."""
    zero: int
    """ZeRO stage."""
    rows_per_step: int
    """Rows of the global batch."""
    micro_batch_size: int
    """Rows in one forward pass; never more than a process has."""

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
        return -(-self.rows_per_rank // self.micro_batch_size)

    def rows_of(self, rank: int) -> slice:
        """The part of the global batch that data-parallel copy `rank` computes."""
        return slice(rank * self.rows_per_rank, (rank + 1) * self.rows_per_rank)

    def micro_batches(self) -> list[slice]:
        """The pieces of a copy's part, in order."""
        size = self.micro_batch_size
        return [slice(at, min(at + size, self.rows_per_rank)) for at in range(0, self.rows_per_rank, size)]


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
    )


def _rows_per_step(settings: TrainingSettings, context_length: int) -> int:
    try:
        return settings.rows_per_step(context_length)
    except ValueError as error:
        raise UserError(str(error)) from None


def _largest_divisor(number: int, limit: int) -> int:
    return next(candidate for candidate in range(max(1, limit), 0, -1) if number % candidate == 0)
