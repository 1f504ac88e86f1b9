"""The whole model, readable top to bottom: tokens in, logits out.

One implementation serves GPT-2's style (learned positions, LayerNorm, GELU, biases) and today's (RoPE, RMSNorm,
SwiGLU, no biases); `ModelShape` says which. Normalisation comes before each layer and once at the end, so the
residual stream runs through untouched (GPT-2, section 2.3). Initial weights are made in `trainer.model.init`.

Shapes: B sequences, T tokens, D width, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.model.attention import Attention
from trainer.model.cache import KeyValueCache
from trainer.model.mlp import build_feed_forward
from trainer.model.norms import build_norm
from trainer.model.positions import RotaryEmbedding
from trainer.settings import ModelShape


class GPT(nn.Module):
    """Decoder-only transformer: predicts each next token from those before it."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embedding = nn.Embedding(shape.vocab_size, shape.width)
        if shape.positions == "learned":
            self.position_embedding = nn.Embedding(shape.context_length, shape.width)
        else:
            self.rotary = RotaryEmbedding(shape.head_width, shape.context_length, shape.rope_theta)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.layers))
        self.final_norm = build_norm(shape)
        if not shape.tied_embeddings:
            self.output = nn.Linear(shape.width, shape.vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor, cache: KeyValueCache | None = None, chosen_BT: Tensor | None = None) -> Tensor:
        """Logits [B, T, V] of the token after each given one; with `chosen_BT` [N, V], where it is true only.

        The output layer is up to half of a small model's work, and finetuning has a loss on a few positions.

        With a cache, `tokens_BT` continues the sequences it holds and is appended to it; the logits are those of
        the given tokens only, equal to the full forward's up to rounding. Raises ValueError for more tokens than
        the context holds.
        """
        start = cache.length if cache is not None else 0
        tokens = tokens_BT.shape[1]
        if start + tokens > self.shape.context_length:
            raise ValueError(f"{start + tokens} tokens do not fit into the context of {self.shape.context_length}")
        x_BTD: Tensor = self.token_embedding(tokens_BT)
        rotation = None
        if self.shape.positions == "learned":
            x_BTD = x_BTD + self.position_embedding(torch.arange(start, start + tokens, device=tokens_BT.device))
        else:
            rotation = self.rotary(start, tokens)
        x_BTD = self.dropout(x_BTD)
        for block in self.blocks:
            x_BTD = block(x_BTD, rotation, cache)
        if cache is not None:
            cache.advance(tokens)
        if chosen_BT is not None:
            x_BTD = x_BTD[chosen_BT]
        x_BTD = self.final_norm(x_BTD)
        output = self.token_embedding if self.shape.tied_embeddings else self.output
        return functional.linear(x_BTD, output.weight)


class Block(nn.Module):
    """Attention between tokens, then the feed-forward layer within each; both add to the residual stream."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.attention_norm = build_norm(shape)
        self.attention = Attention(shape, layer)
        self.feed_forward_norm = build_norm(shape)
        self.feed_forward = build_feed_forward(shape)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor] | None, cache: KeyValueCache | None) -> Tensor:
        """[B, T, D] -> [B, T, D]"""
        attended_BTD: Tensor = self.attention(self.attention_norm(x_BTD), rotation, cache)
        x_BTD = x_BTD + self.dropout(attended_BTD)
        fed_BTD: Tensor = self.feed_forward(self.feed_forward_norm(x_BTD))
        x_BTD = x_BTD + self.dropout(fed_BTD)
        return x_BTD


def loss_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the negative log likelihoods (nats) of the target tokens; scalar, fp32.

    Logits [..., V], targets [...], all of which count. The caller divides by the number of valid tokens of the whole
    global batch: a mean here would weigh micro-batches with few valid tokens too much.
    """
    loss: Tensor = functional.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), reduction="sum")
    return loss
