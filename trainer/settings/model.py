"""The shape and style of a GPT: what decides its parameters."""

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from trainer.model.presets import PRESETS
from trainer.settings.base import Settings
from trainer.settings.rope import RopeScaling


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
    """Inner width of the feed-forward layer. None: 4 x width for gelu; for swiglu and geglu 8/3 x width rounded up to
    a multiple of 64, which has as many parameters."""
    positions: Literal["rope", "learned", "alibi"] = "rope"
    """How a token knows its place: rotary embedding in attention (Su et al. 2021), a learned table (GPT-2), or a
    penalty on attention that grows with the distance (ALiBi, Press et al. 2022)."""
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    """RMSNorm (Zhang & Sennrich 2019) or LayerNorm (Ba et al. 2016)."""
    norm_position: Literal["before", "after"] = "before"
    """before: each layer reads a normalised copy of the residual stream, and a last norm comes before the output
    (GPT-2). after: the stream itself is normalised after each layer (GPT-1, Vaswani et al. 2017)."""
    activation: Literal["swiglu", "geglu", "gelu"] = "swiglu"
    """Feed-forward kind: gated SiLU or gated GELU (Shazeer 2020), or GELU without a gate (GPT-2); GELU is the tanh
    approximation."""
    qk_norm: bool = False
    """RMSNorm on each head's queries and keys before positions are applied, so that attention logits cannot grow
    without bound (Dehghani et al. 2023)."""
    window: int | None = Field(default=None, gt=0)
    """Tokens that attention sees at most: a token itself and those right before it. None: all."""
    windowed_layers: Literal["all", "alternating"] = "all"
    """Which blocks have the window. alternating: every second one, the first sees all (dense and locally banded
    layers by turns, GPT-3, section 2.1)."""
    bias: bool = False
    """Biases in linear layers and LayerNorm (GPT-2 has them)."""
    tied_embeddings: bool = True
    """Whether the output layer shares the token embedding's matrix; saves vocabulary x width parameters."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping an activation in training. 0: the data is seen about once, nothing to gain."""
    rope_theta: float = Field(default=10_000.0, gt=1.0)
    """Base of the rotary wavelengths; larger for longer contexts. Only read with `positions: rope`."""
    rope_scaling: RopeScaling | None = None
    """Change of the rotary angles for a context longer than the first training's. None: as they are."""
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
        if self.rope_scaling is not None and self.positions != "rope":
            raise ValueError(f"rope_scaling has no meaning with positions: {self.positions}; leave it out")
        if self.rope_scaling is not None and self.rope_scaling.kind == "ntk" and self.head_width < 4:
            raise ValueError(f"rope_scaling of kind ntk needs a head width of 4 at least, it is {self.head_width}")
        if self.windowed_layers == "alternating" and self.window is None:
            raise ValueError("windowed_layers: alternating needs a window")
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
    def gated(self) -> bool:
        """Whether the feed-forward layer multiplies by a gate."""
        return self.activation != "gelu"

    def window_of(self, layer: int) -> int | None:
        """The window of one block's attention; None where it sees all."""
        return None if self.windowed_layers == "alternating" and layer % 2 == 0 else self.window

    @property
    def inner_width(self) -> int:
        """Inner width of the feed-forward layer."""
        if self.feed_forward_width is not None:
            return self.feed_forward_width
        if not self.gated:
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
    prefix_decoder: bool = False
    """Whether a prompt is read in both directions: so was the model trained, by `objective: prefix`."""
