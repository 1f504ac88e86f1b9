"""Where each parameter lies in transformers' state dicts, derived from its declaration.

A table of names a family; the rest follows from the declaration. GPT-2 keeps the matrices of linear layers as
[inputs, outputs] (its Conv1D), and query, key and value in one, in our order. Llama keeps the sub-matrices that we hold
in one matrix as parameters of their own; the declaration's parts say where they lie. Both turn the same halves of a
head by rotary embedding as we do, so no row moves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor

from trainer.export.hugging_face.families import Family
from trainer.model.declaration import ParameterDeclaration

_TOP: dict[Family, dict[str, str]] = {
    "gpt2": {
        "token_embedding": "transformer.wte",
        "position_embedding": "transformer.wpe",
        "final_norm": "transformer.ln_f",
        "output": "lm_head",
    },
    "llama": {"token_embedding": "model.embed_tokens", "final_norm": "model.norm", "output": "lm_head"},
}
_BLOCKS: dict[Family, str] = {"gpt2": "transformer.h", "llama": "model.layers"}
_IN_BLOCK: dict[Family, dict[str, tuple[str, ...]]] = {
    "gpt2": {
        "attention_norm": ("ln_1",),
        "attention.query_key_value": ("attn.c_attn",),
        "attention.output": ("attn.c_proj",),
        "feed_forward_norm": ("ln_2",),
        "feed_forward.up": ("mlp.c_fc",),
        "feed_forward.down": ("mlp.c_proj",),
    },
    "llama": {
        "attention_norm": ("input_layernorm",),
        "attention.query_key_value": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attention.output": ("self_attn.o_proj",),
        "feed_forward_norm": ("post_attention_layernorm",),
        "feed_forward.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
        "feed_forward.down": ("mlp.down_proj",),
    },
}


@dataclass(frozen=True)
class Place:
    """One of transformers' parameters, which holds some rows of one of ours."""

    name: str
    """Key of the state dict."""
    rows: slice
    """Of our parameter."""
    turned: bool
    """Whether it is kept as [inputs, outputs]."""

    def shape(self, full: tuple[int, ...]) -> tuple[int, ...]:
        """Its shape, given ours."""
        shape = (self.rows.stop - self.rows.start, *full[1:])
        return shape[::-1] if self.turned else shape

    def take(self, parameter: Tensor) -> Tensor:
        """Its value, from ours."""
        part = parameter[self.rows]
        return (part.T if self.turned else part).contiguous()

    def give(self, parameter: Tensor, value: Tensor) -> None:
        """Write its value into ours."""
        parameter[self.rows].copy_(value.T if self.turned else value)


def places_of(declaration: ParameterDeclaration, family: Family) -> tuple[Place, ...]:
    """Where transformers keeps a parameter, in the order of our rows."""
    path, kind = declaration.name.rsplit(".", 1)
    if path.startswith("blocks."):
        _, block, layer = path.split(".", 2)
        names = tuple(f"{_BLOCKS[family]}.{block}.{name}" for name in _IN_BLOCK[family][layer])
    else:
        names = (_TOP[family][path],)
    parts: tuple[int, ...] = (declaration.shape[0],)
    if len(names) > 1:
        assert declaration.partition is not None
        parts = declaration.partition.parts
    turned = family == "gpt2" and declaration.role == "matrix"
    ends = tuple(accumulate(parts))
    return tuple(
        Place(f"{name}.{kind}", slice(end - part, end), turned)
        for name, part, end in zip(names, parts, ends, strict=True)
    )


def assemble(declaration: ParameterDeclaration, family: Family, read: Callable[[Place], Tensor]) -> Tensor:
    """Our parameter, fp32, from transformers' values."""
    import torch

    parameter = torch.empty(declaration.shape)
    for place in places_of(declaration, family):
        place.give(parameter, read(place))
    return parameter
