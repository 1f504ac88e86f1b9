"""The shape and style of a GPT: what decides its parameters."""

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from trainer.model.presets import PRESETS
from trainer.settings.base import Settings


class ModelSettings(Settings):
    """The shape and style of the GPT, without what the token dataset decides (vocabulary, context)."""

    preset: str | None = None
    """Name of a shape in trainer/model/presets.py; the fields given beside it override it. None: give
    `layers`, `width` and `heads` yourself."""
    layers: int = Field(gt=0)
    """Number of transformer blocks."""
    width: int = Field(gt=0)
    """Width of the residual stream, in features."""
    heads: int = Field(gt=0)
    """Attention heads; must divide `width`."""
    kv_heads: int | None = Field(default=None, gt=0)
    """Heads of keys and values (grouped-query attention); must divide `heads`. None: as many as `heads`."""
    feed_forward_width: int | None = Field(default=None, gt=0)
    """Inner width of the feed-forward layer. None: 4 x width for gelu; for swiglu 8/3 x width rounded up to a
    multiple of 64, which has as many parameters."""
    positions: Literal["rope", "learned"] = "rope"
    """How a token knows its place: rotary embedding in attention, or a learned table (GPT-2)."""
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    """Normalisation before each layer."""
    activation: Literal["swiglu", "gelu"] = "swiglu"
    """Feed-forward kind: gated SiLU, or tanh-approximated GELU (GPT-2)."""
    bias: bool = False
    """Biases in linear layers and LayerNorm (GPT-2 has them)."""
    tied_embeddings: bool = True
    """Whether the output layer shares the token embedding's matrix; saves vocabulary x width parameters."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping an activation in training. 0: the data is seen about once, nothing to gain."""
    rope_theta: float = Field(default=10_000.0, gt=1.0)
    """Base of the rotary wavelengths; larger for longer contexts. Only read with `positions: rope`."""
    norm_epsilon: float = Field(default=1e-5, gt=0.0)
    """Added to the variance before the square root in the norms."""
    initial_std: float = Field(default=0.02, gt=0.0)
    """Standard deviation of initial weights; layers that write to the residual stream get it divided by
    sqrt(2 x layers) (GPT-2)."""

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("preset") is None:
            return given
        if given["preset"] not in PRESETS:
            raise ValueError(f"preset {given['preset']!r} does not exist; known: {', '.join(PRESETS)}")
        return {**PRESETS[given["preset"]], **given}

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        if self.heads % self.key_value_heads:
            raise ValueError(f"heads {self.heads} is not divisible by kv_heads {self.kv_heads}")
        if self.positions == "rope" and self.head_width % 2:
            raise ValueError(f"rope needs an even head width, width / heads is {self.head_width}")
        return self

    @property
    def head_width(self) -> int:
        """Features of one attention head."""
        return self.width // self.heads

    @property
    def key_value_heads(self) -> int:
        """Heads of keys and values."""
        return self.kv_heads or self.heads

    @property
    def inner_width(self) -> int:
        """Inner width of the feed-forward layer."""
        if self.feed_forward_width is not None:
            return self.feed_forward_width
        if self.activation == "gelu":
            return 4 * self.width
        return math.ceil(8 * self.width / 3 / 64) * 64

    def shaped(self, vocab_size: int, context_length: int) -> "ModelShape":
        """The full shape once the token dataset has said its vocabulary and context length."""
        return ModelShape(**self.model_dump(), vocab_size=vocab_size, context_length=context_length)


class ModelShape(ModelSettings):
    """A model's full shape; what `model.json` beside the weights holds."""

    vocab_size: int = Field(gt=0)
    """Rows of the token embedding; from the token dataset."""
    context_length: int = Field(gt=0)
    """Longest sequence in tokens; from the token dataset."""
