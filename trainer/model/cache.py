"""Keys and values of the tokens already seen, so that generation computes each token once.

The buffers are made whole at the start (batch x context for every layer): appending never copies what is there.
Memory: 2 x layers x kv_heads x head_width x capacity values per sequence.
"""

import torch
from torch import Tensor

from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.settings import ModelShape


class KeyValueCache:
    """The attention's memory of one batch of sequences that grow together.

    `length` tokens are stored. The model appends each layer's keys and values and then calls `advance`, so that
    all layers of one forward pass see the same start.
    """

    def __init__(
        self,
        shape: ModelShape,
        batch_size: int,
        *,
        capacity: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        tensor: TensorGroup = ALONE,
    ) -> None:
        self.capacity = shape.context_length if capacity is None else capacity
        self.length = 0
        kv_heads = shape.key_value_heads // tensor.size
        size = (shape.layers, batch_size, kv_heads, self.capacity, shape.head_width)
        self._keys_LBKCW = torch.zeros(size, dtype=dtype, device=device)
        self._values_LBKCW = torch.zeros(size, dtype=dtype, device=device)

    def append(self, layer: int, keys_BKTW: Tensor, values_BKTW: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values; returns all of the sequence so far, [B, K, length + T, W].

        Raises ValueError when the cache is full.
        """
        end = self.length + keys_BKTW.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} tokens, {end} were given")
        self._keys_LBKCW[layer, :, :, self.length : end] = keys_BKTW
        self._values_LBKCW[layer, :, :, self.length : end] = values_BKTW
        return self._keys_LBKCW[layer, :, :, :end], self._values_LBKCW[layer, :, :, :end]

    def advance(self, tokens: int) -> None:
        """Count the tokens that every layer has appended."""
        self.length += tokens

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot rewind to {length}, the cache holds {self.length} tokens")
        self.length = length

    def select(self, sequences: Tensor) -> None:
        """Make the given sequences (indices, repetition allowed) the batch, in this order: for beam search."""
        self._keys_LBKCW = self._keys_LBKCW.index_select(1, sequences)
        self._values_LBKCW = self._values_LBKCW.index_select(1, sequences)
