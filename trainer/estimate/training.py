"""The estimate of a whole run: parameters, memory of each stage, arithmetic, messages, bubble, time, and what to lower.

The time is a quotient, not a prediction: model FLOPs / (devices x peak x MFU), with the MFU that the user expects of
the whole run, the pipeline's bubble included.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from trainer.deepspeed_config import LARGEST_BUCKET
from trainer.estimate.flops import Device, TokenFlops, flops_per_token
from trainer.estimate.memory import (
    FLOAT,
    USABLE,
    StageMemory,
    boundary_bytes,
    local_size,
    stage_declarations,
    stage_memory,
)
from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.parallel.layout import Layout
from trainer.parallel.stages import balance, counted_costs
from trainer.settings import ModelShape, TrainingSettings


@dataclass(frozen=True)
class Traffic:
    """Bytes that one process sends in a step, on the stage that sends most."""

    data: float
    """Gradients and weights, among the copies."""
    tensor: float
    """Activations and their gradients, within each layer."""
    pipeline: float
    """The same, to the next and the previous stage."""


@dataclass(frozen=True)
class Estimate:
    """What is known of a run before it starts."""

    shape: ModelShape
    layout: Layout
    precision: str
    parameters: dict[str, int]
    """Kind -> values: embedding, attention, feed-forward, norms, output."""
    bounds: tuple[int, ...]
    """Of the stages, over embedding (0), blocks and head (layers + 1)."""
    stages: tuple[StageMemory, ...]
    flops: TokenFlops
    """Of one token, forward and backward."""
    recomputed: float
    """FLOPs of one token that activation checkpointing adds; they do not count in MFU."""
    traffic: Traffic

    @property
    def parameter_count(self) -> int:
        """Values of all parameters."""
        return sum(self.parameters.values())

    @property
    def tokens_per_step(self) -> int:
        """Tokens of a full batch."""
        return self.layout.rows_per_step * self.shape.context_length

    @property
    def bubble(self) -> float:
        """Part of a step in which a pipeline's process waits: (p - 1) / (m + p - 1), with one forward and one backward
        pass by turns (Narayanan et al. 2021, section 2.2)."""
        waits = self.layout.pipeline - 1
        return waits / (self.layout.accumulation_steps + waits)

    @property
    def fullest(self) -> StageMemory:
        """The stage whose devices hold most."""
        return max(self.stages, key=lambda stage: stage.total)

    def fits(self, memory_bytes: float) -> bool:
        """Whether every stage fits a device's memory, with room left for what is not counted."""
        return self.fullest.total <= USABLE * memory_bytes

    def step_seconds(self, device: Device, mfu: float) -> float:
        """Seconds of a step at this utilisation."""
        return self.flops.total * self.tokens_per_step / (self.layout.world * device.peak(self.precision) * mfu)


def estimate_training(
    shape: ModelShape, settings: TrainingSettings, layout: Layout, *, precision: str, cuda: bool = True
) -> Estimate:
    """The estimate of a run; `precision` is what `auto` becomes on its devices.

    Raises ValueError when a parameter cannot be cut as the layout asks, which `plan_layout` refuses before.
    """
    bounds = balance(counted_costs(shape), layout.pipeline)
    memory = stage_memory(shape, settings, layout, bounds, precision=precision, cuda=cuda, bucket=LARGEST_BUCKET)
    flops = flops_per_token(shape, shape.context_length)
    checkpointed = settings.activation_checkpointing == "blocks"
    return Estimate(
        shape=shape,
        layout=layout,
        precision=precision,
        parameters=parameters_by_kind(shape),
        bounds=tuple(bounds),
        stages=tuple(memory),
        flops=flops,
        recomputed=sum(flops.blocks) / 3 if checkpointed else 0.0,
        traffic=_traffic(shape, layout, bounds, precision, checkpointed),
    )


def parameters_by_kind(shape: ModelShape) -> dict[str, int]:
    """Values of each kind of parameter; kinds that the model has none of are left out."""
    counted = dict.fromkeys(("embedding", "attention", "feed-forward", "norms", "output"), 0)
    for declaration in declare_parameters(shape):
        counted[_kind(declaration)] += declaration.size
    return {kind: values for kind, values in counted.items() if values}


def _kind(declaration: ParameterDeclaration) -> str:
    if declaration.role == "norm":
        return "norms"
    if declaration.role == "output":
        return "output"
    if declaration.role in ("token_embedding", "position_embedding"):
        return "embedding"
    return "attention" if ".attention." in declaration.name else "feed-forward"


def smaller_settings(
    shape: ModelShape, settings: TrainingSettings, layout: Layout, *, precision: str, cuda: bool = True
) -> Iterator[tuple[str, Estimate]]:
    """(what to change, the estimate with it) for each single change that takes memory off the device and is allowed
    on as many devices. Cheap ones first."""
    for words, change, changed in _changes(settings, layout):
        yield words, estimate_training(shape, change, changed, precision=precision, cuda=cuda)


def _changes(settings: TrainingSettings, layout: Layout) -> Iterator[tuple[str, TrainingSettings, Layout]]:
    if layout.micro_batch_size > 1:
        half = next(size for size in range(layout.micro_batch_size // 2, 0, -1) if layout.rows_per_rank % size == 0)
        yield f"micro_batch_size {half}", settings, replace(layout, micro_batch_size=half)
    if layout.tensor > 1 and not layout.sequence:
        yield "parallel.sequence true", settings, replace(layout, sequence=True)
    if settings.activation_checkpointing == "none":
        changed = settings.model_copy(update={"activation_checkpointing": "blocks"})
        yield "activation_checkpointing blocks", changed, layout
    highest = 1 if layout.pipeline > 1 or settings.optimizer.kind != "adamw" else 3
    if layout.data > 1:
        for zero in range(layout.zero + 1, highest + 1):
            yield f"zero {zero}", settings, replace(layout, zero=zero)
    if not settings.offload_optimizer and layout.zero and settings.optimizer.kind == "adamw":
        yield "offload_optimizer true", settings.model_copy(update={"offload_optimizer": True}), layout


def _traffic(shape: ModelShape, layout: Layout, bounds: list[int], precision: str, checkpointed: bool) -> Traffic:
    element = FLOAT if precision == "fp32" else 2
    most = 0
    for stage in range(layout.pipeline):
        held = stage_declarations(shape, range(bounds[stage], bounds[stage + 1]))
        most = max(most, sum(local_size(declaration, layout.tensor) for declaration in held))
    # A ring: reduce-scatter and all-gather of n bytes send (d - 1) / d n each. ZeRO-3 gathers twice, and both for each
    # micro-batch.
    rounds = 2.0 if layout.zero < 3 else 3.0 * layout.accumulation_steps
    data = rounds * FLOAT * most * (layout.data - 1) / layout.data
    blocks = max(
        len([layer for layer in range(bounds[stage], bounds[stage + 1]) if 1 <= layer <= shape.layers])
        for stage in range(layout.pipeline)
    )
    tokens = layout.rows_per_rank * shape.context_length
    # Each block sums twice forward and twice backward; computing a block again sums twice more. A sum sends as much as
    # two gathers; with sequence parallelism the inputs of two layers are gathered again in the backward pass.
    sums = (6 if checkpointed else 4) + (1 if layout.sequence else 0)
    tensor = 2.0 * (layout.tensor - 1) / layout.tensor * sums * blocks * element * tokens * shape.width
    passed = boundary_bytes(shape, layout) * layout.accumulation_steps if layout.pipeline > 1 else 0
    return Traffic(data=data, tensor=tensor, pipeline=2.0 * passed)
