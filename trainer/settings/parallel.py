"""How the work is spread over processes."""

from typing import Literal

from pydantic import Field

from trainer.settings.base import Settings


class ParallelSettings(Settings):
    """How the work is spread: world = data x tensor x pipeline processes."""

    data: int | None = Field(default=None, gt=0)
    """Data-parallel copies. None: as many as the devices allow; on CPU two, or fewer where there are fewer cores."""
    tensor: int = Field(default=1, gt=0)
    """Processes that share each layer (Megatron-style tensor parallelism); must divide the heads and the kv_heads."""
    pipeline: int = Field(default=1, gt=0)
    """Stages: groups of consecutive blocks, each on processes of its own; at most as many as there are blocks."""
    sequence: bool = False
    """Whether norms and dropout are also shared out, by tokens, among the `tensor` processes (sequence parallelism):
    the same messages, less memory. The context length must be a multiple of `tensor`."""
    balance: Literal["counted", "measured"] = "counted"
    """How blocks are given to stages. counted: by their arithmetic, embedding and output included; measured: by the
    time that one forward and backward pass of each takes at the start."""
