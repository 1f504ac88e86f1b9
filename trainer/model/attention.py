"""Causal multi-head attention with grouped keys and values (Vaswani et al. 2017; Ainslie et al. 2023).

Query, key and value come from one matrix product, so that the input is read once. The attention itself is torch's
scaled_dot_product_attention, which picks a flash kernel where there is one and never builds [T, T] there. Who sees
whom is decided once for all blocks, in `trainer.model.rows`.

Shapes: B sequences, T new tokens, S all tokens so far, D width, H heads, K heads of keys and values, W head width;
with tensor parallelism H and K are this process's.
"""

from torch import Tensor, nn
from torch.nn import functional

from trainer.model.cache import KeyValueCache
from trainer.model.declaration import cutting_faults
from trainer.model.dropout import own_random
from trainer.model.norms import HeadNorm
from trainer.model.positions import rotate
from trainer.model.rows import AttentionInputs
from trainer.parallel.linear import ColumnParallelLinear, RowParallelLinear
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.settings import ModelShape


class Attention(nn.Module):
    """Each token gathers from those that it sees."""

    def __init__(self, shape: ModelShape, layer: int, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        if faults := cutting_faults(shape, tensor.size):
            raise ValueError("; ".join(faults))
        self.layer, self.tensor = layer, tensor
        self.is_windowed = shape.window_of(layer) is not None
        self.heads, self.kv_heads = shape.heads // tensor.size, shape.key_value_heads // tensor.size
        self.head_width = shape.head_width
        self.dropout = shape.dropout
        attended, attended_keys = shape.heads * self.head_width, shape.key_value_heads * self.head_width
        parts = (attended, attended_keys, attended_keys)
        self.query_key_value = ColumnParallelLinear(
            shape.width, sum(parts), bias=shape.bias, parts=parts, tensor=tensor
        )
        self.has_head_norms = shape.qk_norm
        if shape.qk_norm:
            self.query_norm = HeadNorm(shape, tensor)
            self.key_norm = HeadNorm(shape, tensor)
        self.output = RowParallelLinear(attended, shape.width, bias=shape.bias, tensor=tensor)

    def forward(self, x_BTD: Tensor, inputs: AttentionInputs, cache: KeyValueCache | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D]; with a cache the new tokens also see those it holds, and join them."""
        projected_BTE = self.query_key_value(x_BTD)
        batch, tokens, _ = projected_BTE.shape
        projected_BTNW = projected_BTE.view(batch, tokens, -1, self.head_width)
        # `split` rather than slices: backwards the parts are joined once, instead of each being added to zeros.
        parts = projected_BTNW.split((self.heads, self.kv_heads, self.kv_heads), dim=2)
        q_BHTW, k_BKTW, v_BKTW = (part.transpose(1, 2) for part in parts)
        if self.has_head_norms:
            q_BHTW, k_BKTW = self.query_norm(q_BHTW), self.key_norm(k_BKTW)
        if inputs.rotation is not None:
            q_BHTW, k_BKTW = rotate(q_BHTW, *inputs.rotation), rotate(k_BKTW, *inputs.rotation)
        if cache is not None:
            k_BKTW, v_BKTW = cache.append(self.layer, k_BKTW, v_BKTW)
            k_BKTW, v_BKTW = k_BKTW.to(q_BHTW.dtype), v_BKTW.to(q_BHTW.dtype)
        mask = inputs.windowed_mask if self.is_windowed else inputs.dense_mask
        is_grouped = self.kv_heads != self.heads
        if is_grouped and mask is not None:
            # Only flash kernels know groups, and they know no masks: on a GPU the rest would build [T, T] in fp32.
            group = self.heads // self.kv_heads
            k_BKTW, v_BKTW = k_BKTW.repeat_interleave(group, dim=1), v_BKTW.repeat_interleave(group, dim=1)
        dropout = self.dropout if self.training else 0.0
        with own_random(self.tensor, dropout > 0.0):
            attended_BHTW = functional.scaled_dot_product_attention(
                q_BHTW,
                k_BKTW,
                v_BKTW,
                attn_mask=mask,
                dropout_p=dropout,
                is_causal=inputs.causal and mask is None,
                enable_gqa=is_grouped and mask is None,
            )
        y_BTD: Tensor = self.output(attended_BHTW.transpose(1, 2).reshape(batch, tokens, -1))
        return y_BTD
