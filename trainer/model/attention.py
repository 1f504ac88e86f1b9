"""Causal multi-head attention with grouped keys and values (Vaswani et al. 2017; Ainslie et al. 2023).

Query, key and value come from one matrix product, so that the input is read once. The attention itself is torch's
scaled_dot_product_attention, which picks a flash kernel where there is one and never builds [T, T] there.

Shapes: B sequences, T new tokens, S all tokens so far, D width, H heads, K heads of keys and values, W head width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.model.cache import KeyValueCache
from trainer.model.positions import rotate
from trainer.settings import ModelShape


class Attention(nn.Module):
    """Each token gathers from itself and the tokens before it."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads, self.head_width = shape.heads, shape.key_value_heads, shape.head_width
        self.dropout = shape.dropout
        projected = (self.heads + 2 * self.kv_heads) * self.head_width
        self.query_key_value = nn.Linear(shape.width, projected, bias=shape.bias)
        self.output = nn.Linear(self.heads * self.head_width, shape.width, bias=shape.bias)

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor] | None, cache: KeyValueCache | None) -> Tensor:
        """[B, T, D] -> [B, T, D]; with a cache the new tokens also see those it holds, and join them."""
        batch, tokens, _ = x_BTD.shape
        projected_BTNW = self.query_key_value(x_BTD).view(batch, tokens, -1, self.head_width)
        projected_BNTW = projected_BTNW.transpose(1, 2)
        turned = self.heads + self.kv_heads
        q_k_BNTW, v_BKTW = projected_BNTW[:, :turned], projected_BNTW[:, turned:]
        if rotation is not None:
            q_k_BNTW = rotate(q_k_BNTW, *rotation)
        q_BHTW, k_BKTW = q_k_BNTW[:, : self.heads], q_k_BNTW[:, self.heads :]
        mask_TS = None
        if cache is not None:
            k_BKTW, v_BKTW = cache.append(self.layer, k_BKTW, v_BKTW)
            k_BKTW, v_BKTW = k_BKTW.to(q_BHTW.dtype), v_BKTW.to(q_BHTW.dtype)
            if cache.length and tokens > 1:
                seen = cache.length + tokens
                mask_TS = torch.ones(tokens, seen, dtype=torch.bool, device=x_BTD.device).tril(cache.length)
        attended_BHTW = functional.scaled_dot_product_attention(
            q_BHTW,
            k_BKTW,
            v_BKTW,
            attn_mask=mask_TS,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=tokens > 1 and mask_TS is None,
            enable_gqa=self.kv_heads != self.heads,
        )
        y_BTD: Tensor = self.output(attended_BHTW.transpose(1, 2).reshape(batch, tokens, -1))
        return y_BTD
