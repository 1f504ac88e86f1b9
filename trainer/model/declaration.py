"""One declaration per parameter: its canonical name, full shape, how it starts and whether it is decayed.

Decision: everything that must know all parameters (initial weights, weight-decay groups, export, later the
sharding and the mapping to other formats) reads this list; none of them inspects module types or name patterns.
The list is arithmetic and needs no torch, so it also answers "how many parameters?" without building a model.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trainer.settings import ModelShape

InitialValue = Literal["normal", "zeros", "ones"]


@dataclass(frozen=True)
class ParameterDeclaration:
    """What there is to know of one parameter, independent of the layout."""

    name: str
    """Canonical name: the path of attributes in `trainer.model.gpt.GPT`, and the key in weights.safetensors."""
    shape: tuple[int, ...]
    """Full shape; matrices are [outputs, inputs]."""
    initial: InitialValue
    """Distribution of the initial values."""
    std: float = 0.0
    """Standard deviation, of "normal" only."""

    @property
    def decayed(self) -> bool:
        """Whether weight decay applies: to matrices only, since norms and biases have no scale to shrink."""
        return len(self.shape) > 1

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def declare_parameters(shape: ModelShape) -> tuple[ParameterDeclaration, ...]:
    """Every parameter of the model, in the order of the forward pass."""
    return tuple(_declarations(shape))


def parameter_count(shape: ModelShape) -> int:
    """Values of all parameters; a tied output matrix counts once."""
    return sum(declaration.size for declaration in declare_parameters(shape))


def _declarations(shape: ModelShape) -> Iterator[ParameterDeclaration]:
    std = shape.initial_std
    # 2 x layers sums enter the residual stream; this keeps its variance at the width's own (GPT-2, section 2.3).
    residual_std = std / math.sqrt(2 * shape.layers)
    width, inner = shape.width, shape.inner_width
    attended = shape.heads * shape.head_width
    attended_keys = shape.key_value_heads * shape.head_width
    yield ParameterDeclaration("token_embedding.weight", (shape.vocab_size, width), "normal", std)
    if shape.positions == "learned":
        yield ParameterDeclaration("position_embedding.weight", (shape.context_length, width), "normal", std)
    for index in range(shape.layers):
        block = f"blocks.{index}"
        yield from _norm(shape, f"{block}.attention_norm")
        yield from _linear(shape, f"{block}.attention.query_key_value", attended + 2 * attended_keys, width, std)
        yield from _linear(shape, f"{block}.attention.output", width, attended, residual_std)
        yield from _norm(shape, f"{block}.feed_forward_norm")
        if shape.activation == "swiglu":
            yield from _linear(shape, f"{block}.feed_forward.gate_up", 2 * inner, width, std)
        else:
            yield from _linear(shape, f"{block}.feed_forward.up", inner, width, std)
        yield from _linear(shape, f"{block}.feed_forward.down", width, inner, residual_std)
    yield from _norm(shape, "final_norm")
    if not shape.tied_embeddings:
        yield ParameterDeclaration("output.weight", (shape.vocab_size, width), "normal", std)


def _norm(shape: ModelShape, name: str) -> Iterator[ParameterDeclaration]:
    yield ParameterDeclaration(f"{name}.weight", (shape.width,), "ones")
    if shape.norm == "layernorm" and shape.bias:
        yield ParameterDeclaration(f"{name}.bias", (shape.width,), "zeros")


def _linear(shape: ModelShape, name: str, outputs: int, inputs: int, std: float) -> Iterator[ParameterDeclaration]:
    yield ParameterDeclaration(f"{name}.weight", (outputs, inputs), "normal", std)
    if shape.bias:
        yield ParameterDeclaration(f"{name}.bias", (outputs,), "zeros")
