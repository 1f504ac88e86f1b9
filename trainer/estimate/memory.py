"""What the devices of each pipeline stage hold, by kind.

Weights, gradients and the optimizer's state are exact up to alignment: they are counted from the declarations, with
tensor parallelism's padding and a pipeline's second copy of tied embeddings, and tests/trainer/test_estimate.py
compares them with the tensors of running engines. Activations are a model of what autograd keeps (`activations.py`).

Bytes a parameter: 4 weight, 4 gradient, 8 moments of AdamW. Under autocast also 2 for the 16-bit copies of matrices
that one forward and backward pass uses. ZeRO 1, 2 and 3 step on an fp32 copy of a process's part, 4 more, divided
like the moments. Rajbhandari et al. 2020 (ZeRO), section 3 and 5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainer.deepspeed_config import sharded_stage
from trainer.estimate.activations import STREAM, ActivationBytes, activation_bytes, mask_bytes
from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.optim.kinds import kinds_of, state_declaration
from trainer.optim.ownership import owners_of
from trainer.parallel.layout import Layout
from trainer.settings import ModelShape, TrainingSettings

FLOAT = 4
LIVE_PARAMETERS = 1_000_000_000
"""Values that ZeRO-3 keeps gathered at most (DeepSpeed's stage3_max_live_parameters)."""
LOSS_PIECE = 1 << 26
"""Logits that the loss works on at a time on a GPU (`trainer.parallel.vocabulary`)."""
USABLE = 0.92
"""Part of a device's memory that is planned with: the rest is for the driver, NCCL and fragmentation."""


@dataclass(frozen=True)
class StageMemory:
    """Bytes on one device of a stage."""

    weights: int
    """fp32 weights that forward and backward use."""
    gradients: int
    """fp32, at the end of a backward pass."""
    optimizer: int
    """Moments, and the fp32 copy that ZeRO steps on."""
    copies: int
    """16-bit copies of matrices under autocast, and with ZeRO-3 the gathered weights."""
    activations: float
    """What is kept for the backward pass, of all micro-batches under way; masks included."""
    logits: float
    """Of one micro-batch, on the last stage."""
    buckets: int
    """Where gradients and weights are collected before they are sent."""
    host: int
    """In the host's memory instead, with offload_optimizer."""

    @property
    def total(self) -> float:
        """Of the device."""
        kept = self.weights + self.gradients + self.optimizer + self.copies
        return kept + self.activations + self.logits + self.buckets


def stage_memory(
    shape: ModelShape,
    settings: TrainingSettings,
    layout: Layout,
    bounds: Sequence[int],
    *,
    precision: str,
    cuda: bool,
    bucket: int,
) -> list[StageMemory]:
    """Of each stage; `bounds` as `trainer.parallel.stages.balance` gives them, over embedding, blocks and head.

    `bucket` values are collected before they are sent.
    """
    layout = replace(layout, zero=sharded_stage(settings, layout))
    return [
        _stage(shape, settings, layout, range(bounds[stage], bounds[stage + 1]), stage, precision, cuda, bucket)
        for stage in range(layout.pipeline)
    ]


def stage_declarations(shape: ModelShape, layers: range) -> list[ParameterDeclaration]:
    """The parameters of the layers (0 is the embedding, the last one the head) that a process holds.

    A head without its embedding has a copy of tied ones.
    """
    head = shape.layers + 1
    number: dict[object, int] = {"embedding": 0, "head": head, **{block: block + 1 for block in range(shape.layers)}}
    return [
        declaration
        for declaration in declare_parameters(shape)
        if number[declaration.stage_of] in layers or (declaration.tied and head in layers)
    ]


def local_size(declaration: ParameterDeclaration, tensor: int) -> int:
    """Values of one process's piece, padding included."""
    return math.prod(declaration.local_shape(tensor))


def _stage(
    shape: ModelShape,
    settings: TrainingSettings,
    layout: Layout,
    layers: range,
    stage: int,
    precision: str,
    cuda: bool,
    bucket: int,
) -> StageMemory:
    held = stage_declarations(shape, layers)
    values = sum(local_size(declaration, layout.tensor) for declaration in held)
    element = FLOAT if precision == "fp32" else 2
    is_first, is_last = 0 in layers, shape.layers + 1 in layers
    copies = 0 if element == FLOAT else element * _cast_values(held, layout.tensor, is_last)
    share = -(-values // layout.data)
    # The copy of a tied matrix follows its owner: it belongs to no optimizer.
    stepped = [declaration for declaration in held if is_first or not declaration.tied]
    state = _optimizer_bytes(settings, stepped, layout, sum(local_size(item, layout.tensor) for item in stepped))
    blocks = len(layers) - is_first - is_last
    kept = activation_bytes(
        shape,
        element=element,
        tensor=layout.tensor,
        sequence=layout.sequence,
        cuda=cuda,
    )
    tokens = layout.micro_batch_size * shape.context_length
    under_way = min(layout.accumulation_steps, layout.pipeline - stage)
    masks = mask_bytes(
        shape,
        rows=layout.micro_batch_size,
        tokens=shape.context_length,
        element=element,
        tensor=layout.tensor,
        by_row=settings.document_attention or settings.objective == "prefix",
    )
    checkpointed = settings.activation_checkpointing == "blocks"
    return StageMemory(
        weights=FLOAT * (share if layout.zero == 3 else values),
        gradients=FLOAT * (share if layout.zero >= 2 else values),
        optimizer=0 if settings.offload_optimizer else state,
        copies=copies + (FLOAT * min(values, LIVE_PARAMETERS) if layout.zero == 3 else 0),
        activations=tokens * _kept(kept, blocks, under_way, checkpointed, is_first, is_last) + masks,
        logits=tokens * kept.logits + _piece(shape, layout, tokens, cuda) if is_last else 0.0,
        buckets=FLOAT * min(values, bucket) * (2 if layout.zero else 0),
        host=state if settings.offload_optimizer else 0,
    )


def _kept(
    of_token: ActivationBytes, blocks: int, under_way: int, checkpointed: bool, is_first: bool, is_last: bool
) -> float:
    """Bytes a token of a micro-batch, with `under_way` of them kept; a checkpointed block at a time is whole."""
    ends = of_token.embedding * is_first + of_token.head * is_last
    if checkpointed and blocks:
        return under_way * (blocks * of_token.block_input + ends) + of_token.block
    return under_way * (blocks * of_token.block + ends)


def _piece(shape: ModelShape, layout: Layout, tokens: int, cuda: bool) -> float:
    """What the loss works on at a time, in fp32; on a CPU next to nothing."""
    return FLOAT * min(tokens * shape.vocab_size / layout.tensor, LOSS_PIECE) if cuda else 0.0


def _cast_values(held: Sequence[ParameterDeclaration], tensor: int, is_last: bool) -> int:
    """Values of the matrices that autocast makes 16-bit copies of: all that are multiplied with."""
    multiplied = {"matrix", "bias", "output"}
    return sum(
        local_size(declaration, tensor)
        for declaration in held
        if declaration.role in multiplied or (declaration.tied and is_last)
    )


def _optimizer_bytes(
    settings: TrainingSettings, held: Sequence[ParameterDeclaration], layout: Layout, values: int
) -> int:
    """State of the optimizer on one process, the fullest where Adafactor and Muon share out whole parameters."""
    optimizer = settings.optimizer
    if optimizer.kind == "adamw":
        return 8 * values if layout.zero == 0 else 12 * -(-values // layout.data)
    copies = 1 if layout.zero == 0 else layout.data
    states = [0] * copies
    for declaration, owner in zip(held, owners_of(held, optimizer, copies), strict=True):
        kinds = kinds_of(declaration, optimizer)
        states[owner] += FLOAT * sum(local_size(state_declaration(declaration, kind), layout.tensor) for kind in kinds)
    return max(states)


def boundary_bytes(shape: ModelShape, layout: Layout) -> int:
    """What one micro-batch passes from stage to stage, on one process."""
    tokens = layout.micro_batch_size * shape.context_length
    return STREAM * tokens * shape.width // (layout.tensor if layout.sequence else 1)
