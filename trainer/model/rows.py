"""What a batch says about its rows beside their tokens, and what attention makes of it.

`RowContext` is what the data gives: which document each token belongs to, and how much of a row is a prefix. It flows
through the stages of a pipeline as a tuple of tensors. `AttentionInputs` follows from it: the rotation of each
position and who sees whom. They are built once a forward pass and not in each block; where plain causal order says it
all there is no mask, so that a flash kernel can do the work.

A token sees those before it, and itself. Less: where documents are kept apart, only those of its own document, and
with a window only the last ones. More: within a prefix also those after it.

Shapes: B rows, T new tokens, S all tokens so far, H heads, W head width, C context length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from trainer.model.positions import alibi_slopes, rotary_tables_of
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.settings import ModelShape


@dataclass(frozen=True)
class AttentionInputs:
    """The same for all blocks of a forward pass."""

    rotation: tuple[Tensor, Tensor] | None
    """Cosines and sines, [T, W], or [B, 1, T, W] where positions differ by row; None without rotary embedding."""
    dense_mask: Tensor | None
    """For blocks without a window: [1 or B, 1 or H, T, S], bool (true: is seen) or, with ALiBi, what is added to the
    logits. None: no mask is needed."""
    windowed_mask: Tensor | None
    """The same for blocks with a window."""
    causal: bool
    """Whether a block without a mask hides later tokens."""


@dataclass
class RowContext:
    """The rows of one forward pass."""

    segments_BT: Tensor | None = None
    """int32: number of each token's document within its row. None: a row is one document."""
    prefix_B: Tensor | None = None
    """int32: tokens at a row's beginning that all see each other. None: no row has such."""
    _inputs: tuple[tuple[object, ...], AttentionInputs] | None = field(default=None, repr=False, compare=False)

    def tensors(self) -> tuple[Tensor, ...]:
        """What a pipeline must pass on: the tensors that are there."""
        return tuple(tensor for tensor in (self.segments_BT, self.prefix_B) if tensor is not None)

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> Self:
        """The inverse of `tensors`; they are told apart by their dimensions."""
        context = cls()
        for tensor in tensors:
            if tensor.dim() == 2:
                context.segments_BT = tensor
            else:
                context.prefix_B = tensor
        return context

    def positions(self) -> Tensor | None:
        """int64 [B, T]: place of each token within its document; None where rows are single documents."""
        if self.segments_BT is None:
            return None
        places_T = torch.arange(self.segments_BT.shape[1], device=self.segments_BT.device)
        begins_BT = torch.ones_like(self.segments_BT, dtype=torch.bool)
        begins_BT[:, 1:] = self.segments_BT[:, 1:] != self.segments_BT[:, :-1]
        first_BT = torch.where(begins_BT, places_T, 0).cummax(dim=1).values
        return places_T - first_BT

    def attention_inputs(
        self, shape: ModelShape, tokens: int, dtype: torch.dtype, device: torch.device, start: int, tensor: TensorGroup
    ) -> AttentionInputs:
        """For `tokens` new tokens after `start` in the cache; the same object again within a forward pass.

        Raises ValueError where documents are kept apart and there is a cache: it holds one document a row.
        """
        key = (shape, tokens, dtype, device, start, tensor)
        if self._inputs is None or self._inputs[0] != key:
            if start and self.segments_BT is not None:
                raise ValueError("a cache cannot be continued with rows of several documents")
            self._inputs = key, _attention_inputs(self, shape, tokens, dtype, device, start, tensor)
        return self._inputs[1]


def _attention_inputs(
    context: RowContext,
    shape: ModelShape,
    tokens: int,
    dtype: torch.dtype,
    device: torch.device,
    start: int,
    tensor: TensorGroup = ALONE,
) -> AttentionInputs:
    windows = {shape.window_of(layer) for layer in range(shape.layers)}
    masks = {}
    for window in windows:
        seen = _mask(context, window, tokens, device, start)
        masks[window] = _with_penalty(seen, shape, tokens, dtype, device, start, tensor)
    rotation = None
    if shape.positions == "rope":
        tables = rotary_tables_of(shape, device)
        positions_BT = context.positions()
        if positions_BT is None:
            rotation = tables[0][start : start + tokens], tables[1][start : start + tokens]
        else:
            rotation = tables[0][positions_BT].unsqueeze(1), tables[1][positions_BT].unsqueeze(1)
    windowed = masks.get(shape.window) if shape.window is not None else None
    return AttentionInputs(rotation, masks.get(None), windowed, causal=tokens > 1 and start == 0)


def _mask(context: RowContext, window: int | None, tokens: int, device: torch.device, start: int) -> Tensor | None:
    """bool [1 or B, 1, T, S]; None where `causal` says the same."""
    end = start + tokens
    is_windowed = window is not None and window < end
    is_plain = context.segments_BT is None and context.prefix_B is None and not is_windowed
    if is_plain and (tokens == 1 or start == 0):
        return None
    keys_S = torch.arange(end, device=device)
    queries_T1 = keys_S[start:, None]
    mask = (keys_S <= queries_T1)[None, None]
    if context.prefix_B is not None:
        inside_BS = keys_S < context.prefix_B[:, None]
        mask = mask | (inside_BS[:, None, None, :] & inside_BS[:, None, start:, None])
    if window is not None and is_windowed:
        mask = mask & ((queries_T1 - keys_S).abs() < window)
    if context.segments_BT is not None:
        segments_BT = context.segments_BT
        mask = mask & (segments_BT[:, None, :, None] == segments_BT[:, None, None, :])
    return mask


def _with_penalty(
    mask: Tensor | None,
    shape: ModelShape,
    tokens: int,
    dtype: torch.dtype,
    device: torch.device,
    start: int,
    tensor: TensorGroup,
) -> Tensor | None:
    """With ALiBi the mask as a sum to the logits, [1 or B, H of this process, T, S]; else as it is."""
    if shape.positions != "alibi":
        return mask
    keys_S = torch.arange(start + tokens, device=device)
    distances_TS = (keys_S[start:, None] - keys_S).abs()
    heads = shape.heads // tensor.size
    slopes_H = alibi_slopes(shape.heads)[tensor.rank * heads : (tensor.rank + 1) * heads].to(device)
    penalty = (-slopes_H[:, None, None] * distances_TS).to(dtype)[None]
    seen = keys_S <= keys_S[start:, None] if mask is None else mask
    return penalty.masked_fill(~seen, float("-inf"))
