"""One declaration per parameter: name, full shape, how it starts, how it is cut, where it belongs.

Decision: everything that must know all parameters (initial weights, weight-decay groups, tensor parallelism, stages,
the gradient's norm, checkpoints, export) reads this list; none of them inspects module types or name patterns.
The list is arithmetic and needs no torch, so it also answers "how many parameters?" without building a model.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainer.model.partition import Partition
from trainer.settings import ModelShape

if TYPE_CHECKING:
    from torch import Tensor

InitialValue = Literal["normal", "zeros", "ones"]
Role = Literal["token_embedding", "position_embedding", "matrix", "bias", "norm", "output"]
Stage = int | Literal["embedding", "head"]


@dataclass(frozen=True)
class ParameterDeclaration:
    """What there is to know of one parameter, independent of the layout."""

    name: str
    """Canonical name: the path of attributes in `trainer.model.gpt.GPT`, and the key in weights.safetensors."""
    shape: tuple[int, ...]
    """Full shape; matrices are [outputs, inputs]."""
    initial: InitialValue
    """Distribution of the initial values."""
    role: Role
    """What it does: "matrix" are the weights within blocks, "output" an untied output layer, "norm" a norm's gains and
    shifts. Optimizers choose by it."""
    stage_of: Stage
    """The part of the model that it belongs to: "embedding", the number of a block, or "head"."""
    std: float = 0.0
    """Standard deviation, of "normal" only."""
    partition: Partition | None = None
    """How it is cut among tensor-parallel processes; None: each has a copy."""
    tied: bool = False
    """Whether the head uses it too: a stage that has the head but not the embedding has a copy."""

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def local_shape(self, size: int) -> tuple[int, ...]:
        """Shape of the piece that each of `size` tensor-parallel processes holds, padding included.

        Raises ValueError when the parameter cannot be cut into so many.
        """
        if self.partition is None:
            return self.shape
        shape = list(self.shape)
        try:
            shape[self.partition.dimension] = self.partition.local_size(size)
        except ValueError as fault:
            raise ValueError(f"{self.name}: {fault}") from None
        return tuple(shape)

    def slices(self, rank: int, size: int) -> list[tuple[slice, slice]]:
        """(place in the full parameter, place in the piece) along the partition's dimension; along the first one
        where the parameter is not cut."""
        if self.partition is None:
            whole = slice(0, self.shape[0])
            return [(whole, whole)]
        return self.partition.slices(rank, size)

    def local(self, full: "Tensor", rank: int, size: int) -> "Tensor":
        """The piece that tensor-parallel process `rank` of `size` holds, of the parameter or of a moment of it."""
        return full if self.partition is None else self.partition.local(full, rank, size)

    def assemble(self, pieces: "Sequence[Tensor]") -> "Tensor":
        """The full tensor from the pieces of all tensor-parallel processes, in the order of their ranks."""
        return pieces[0] if self.partition is None else self.partition.assemble(pieces)


def declare_parameters(shape: ModelShape) -> tuple[ParameterDeclaration, ...]:
    """Every parameter of the model, in the order of the forward pass."""
    return tuple(_declarations(shape))


def parameter_count(shape: ModelShape) -> int:
    """Values of all parameters; a tied output matrix counts once."""
    return sum(declaration.size for declaration in declare_parameters(shape))


def cutting_faults(shape: ModelShape, size: int) -> tuple[str, ...]:
    """Why the model cannot be cut among `size` tensor-parallel processes, for the user; empty where it can.

    Heads must stay whole, and the vocabulary is filled up, so only these three numbers matter.
    """
    numbers = {"heads": shape.heads, "kv_heads": shape.key_value_heads, "feed_forward_width": shape.inner_width}
    return tuple(
        f"model.{name} is {number}, which cannot be divided among {size} processes"
        for name, number in numbers.items()
        if number % size
    )


def _declarations(shape: ModelShape) -> Iterator[ParameterDeclaration]:
    std, width = shape.initial_std, shape.width
    rows = Partition(0, (shape.vocab_size,), padded=True)
    yield ParameterDeclaration(
        "token_embedding.weight",
        (shape.vocab_size, width),
        "normal",
        "token_embedding",
        "embedding",
        std=std,
        partition=rows,
        tied=shape.tied_embeddings,
    )
    if shape.positions == "learned":
        table = (shape.context_length, width)
        name = "position_embedding.weight"
        yield ParameterDeclaration(name, table, "normal", "position_embedding", "embedding", std=std)
    for block in range(shape.layers):
        yield from _block(shape, block)
    if shape.norm_position == "before":
        yield from _norm(shape, "final_norm", "head")
    if not shape.tied_embeddings:
        matrix = (shape.vocab_size, width)
        yield ParameterDeclaration("output.weight", matrix, "normal", "output", "head", std=std, partition=rows)


def _block(shape: ModelShape, block: int) -> Iterator[ParameterDeclaration]:
    inner = shape.inner_width
    attended = shape.heads * shape.head_width
    attended_keys = shape.key_value_heads * shape.head_width
    std = shape.initial_std
    # 2 x layers sums enter the residual stream; this keeps its variance at the width's own (GPT-2, section 2.3).
    # Where each sum is normalised there is nothing to keep.
    residual_std = std / math.sqrt(2 * shape.layers) if shape.norm_position == "before" else std
    name = f"blocks.{block}"
    yield from _norm(shape, f"{name}.attention_norm", block)
    projected = (attended, attended_keys, attended_keys)
    yield from _column(shape, f"{name}.attention.query_key_value", projected, block, std)
    if shape.qk_norm:
        for norm in ("query_norm", "key_norm"):
            yield ParameterDeclaration(f"{name}.attention.{norm}.weight", (shape.head_width,), "ones", "norm", block)
    yield from _row(shape, f"{name}.attention.output", attended, block, residual_std)
    yield from _norm(shape, f"{name}.feed_forward_norm", block)
    if shape.gated:
        yield from _column(shape, f"{name}.feed_forward.gate_up", (inner, inner), block, std)
    else:
        yield from _column(shape, f"{name}.feed_forward.up", (inner,), block, std)
    yield from _row(shape, f"{name}.feed_forward.down", inner, block, residual_std)


def _norm(shape: ModelShape, name: str, stage: Stage) -> Iterator[ParameterDeclaration]:
    yield ParameterDeclaration(f"{name}.weight", (shape.width,), "ones", "norm", stage)
    if shape.norm == "layernorm" and shape.bias:
        yield ParameterDeclaration(f"{name}.bias", (shape.width,), "zeros", "norm", stage)


def _column(
    shape: ModelShape, name: str, parts: tuple[int, ...], stage: Stage, std: float
) -> Iterator[ParameterDeclaration]:
    """A linear layer whose outputs are cut."""
    cut, matrix = Partition(0, parts), (sum(parts), shape.width)
    yield ParameterDeclaration(f"{name}.weight", matrix, "normal", "matrix", stage, std=std, partition=cut)
    if shape.bias:
        yield ParameterDeclaration(f"{name}.bias", (sum(parts),), "zeros", "bias", stage, partition=cut)


def _row(shape: ModelShape, name: str, inputs: int, stage: Stage, std: float) -> Iterator[ParameterDeclaration]:
    """A linear layer whose inputs are cut; its bias is added once, after the sum, and so is not cut."""
    cut, matrix = Partition(1, (inputs,)), (shape.width, inputs)
    yield ParameterDeclaration(f"{name}.weight", matrix, "normal", "matrix", stage, std=std, partition=cut)
    if shape.bias:
        yield ParameterDeclaration(f"{name}.bias", (shape.width,), "zeros", "bias", stage)
