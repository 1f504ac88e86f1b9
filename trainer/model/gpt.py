"""The whole model, readable top to bottom: tokens in, logits out.

GPT = `Embedding`, then `Block`s, then `Head`. One implementation serves GPT-1's, GPT-2's and GPT-3's style (learned
positions, LayerNorm, GELU, biases) and today's (RoPE, RMSNorm, gated layers, no biases), and every layout: with a
`TensorGroup` a module holds this process's part of it, and a pipeline's stage holds some of the modules. `ModelShape`
says which model; initial weights are made in `trainer.model.init`.

What flows between the parts is the residual stream, [B, T, D] (with sequence parallelism this process's T / size
tokens), and a `RowContext`. Normalisation comes before each layer and once at the end, so the residual stream runs
through untouched (GPT-2, section 2.3); with `norm_position: after` it comes after each sum (GPT-1).

Shapes: B sequences, T tokens, D width, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trainer.model.attention import Attention
from trainer.model.cache import KeyValueCache
from trainer.model.dropout import ResidualDropout
from trainer.model.mlp import build_feed_forward
from trainer.model.norms import build_norm
from trainer.model.rows import AttentionInputs, RowContext
from trainer.parallel.collectives import part_of_sequence, shared_weight
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.parallel.vocabulary import VocabularyEmbedding, vocabulary_logits
from trainer.settings import ModelShape


class GPT(nn.Module):
    """Decoder-only transformer: predicts each next token from those before it.

    The parts of embedding and head are its own attributes too, so that a parameter's path is its canonical name.
    """

    token_embedding: VocabularyEmbedding

    def __init__(self, shape: ModelShape, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.shape, self.tensor = shape, tensor
        self.checkpointed = False
        """Whether blocks compute their activations again in the backward pass, to save memory."""
        embedding = Embedding(shape, tensor)
        head = Head(shape, tensor, embedding.token_embedding if shape.tied_embeddings else None)
        self._ends = (embedding, head)  # in a tuple, since torch would register modules under other names
        for name, module in embedding.named_children():
            self.add_module(name, module)
        self.blocks = nn.ModuleList(Block(shape, layer, tensor) for layer in range(shape.layers))
        for name, module in head.named_children():
            self.add_module(name, module)

    def forward(
        self,
        tokens_BT: Tensor,
        cache: KeyValueCache | None = None,
        chosen_BT: Tensor | None = None,
        context: RowContext | None = None,
    ) -> Tensor:
        """Logits [B, T, V] of the token after each given one; with `chosen_BT` [N, V], where it is true only.

        The output layer is up to half of a small model's work, and finetuning has a loss on a few positions.
        With tensor parallelism they are this process's part of the vocabulary (`trainer.parallel.vocabulary`).

        With a cache, `tokens_BT` continues the sequences it holds and is appended to it; the logits are those of
        the given tokens only, equal to the full forward's up to rounding. Raises ValueError for more tokens than
        the context holds.
        """
        start = cache.length if cache is not None else 0
        tokens = tokens_BT.shape[1]
        if start + tokens > self.shape.context_length:
            raise ValueError(f"{start + tokens} tokens do not fit into the context of {self.shape.context_length}")
        embedding, head = self._ends
        context = RowContext() if context is None else context
        x_BTD = embedding(tokens_BT, context, start)
        for block in self.blocks:
            x_BTD = run_block(block, x_BTD, context, self.checkpointed, cache)
        if cache is not None:
            cache.advance(tokens)
        logits: Tensor = head(x_BTD, chosen_BT)
        return logits


class Embedding(nn.Module):
    """Tokens to vectors; with learned positions these are added."""

    def __init__(self, shape: ModelShape, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.shape, self.tensor = shape, tensor
        self.token_embedding = VocabularyEmbedding(shape.vocab_size, shape.width, tensor)
        if shape.positions == "learned":
            self.position_embedding = PositionEmbedding(shape, tensor)
        self.embedding_dropout = ResidualDropout(shape.dropout, tensor)

    def forward(self, tokens_BT: Tensor, context: RowContext | None = None, start: int = 0) -> Tensor:
        """[B, T] ids -> [B, T, D]; `start` tokens of the rows came before."""
        x_BTD: Tensor = self.token_embedding(tokens_BT)
        if self.shape.positions == "learned":
            positions = None if context is None else context.positions()
            if positions is None:
                positions = torch.arange(start, start + tokens_BT.shape[1], device=tokens_BT.device)
            x_BTD = x_BTD + self.position_embedding(positions)
        dropped_BTD: Tensor = self.embedding_dropout(x_BTD)
        return dropped_BTD


class PositionEmbedding(nn.Module):
    """A learned vector for each place."""

    def __init__(self, shape: ModelShape, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.tensor = tensor
        self.weight = nn.Parameter(torch.empty(shape.context_length, shape.width))

    def forward(self, positions: Tensor) -> Tensor:
        """[..., T] places -> [..., T, D], with sequence parallelism of this process's tokens."""
        if self.tensor.splits_sequence:
            positions = part_of_sequence(positions.unsqueeze(-1), self.tensor).squeeze(-1)
        return functional.embedding(positions, shared_weight(self.weight, self.tensor))


class Block(nn.Module):
    """Attention between tokens, then the feed-forward layer within each; both add to the residual stream."""

    def __init__(self, shape: ModelShape, layer: int, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.shape, self.tensor = shape, tensor
        self.norms_before = shape.norm_position == "before"
        self.attention_norm = build_norm(shape, tensor)
        self.attention = Attention(shape, layer, tensor)
        self.feed_forward_norm = build_norm(shape, tensor)
        self.feed_forward = build_feed_forward(shape, tensor)
        self.dropout = ResidualDropout(shape.dropout, tensor)

    def forward(self, x_BTD: Tensor, inputs: AttentionInputs, cache: KeyValueCache | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D]"""
        if self.norms_before:
            x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), inputs, cache))
            x_BTD = x_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BTD)))
        else:
            x_BTD = self.attention_norm(x_BTD + self.dropout(self.attention(x_BTD, inputs, cache)))
            x_BTD = self.feed_forward_norm(x_BTD + self.dropout(self.feed_forward(x_BTD)))
        return x_BTD


class Head(nn.Module):
    """The last norm and the logits.

    With tied embeddings it uses the matrix of the given token embedding; where none is given (a pipeline's last stage)
    it has a copy, which whoever builds the stages must keep equal to the first stage's.
    """

    def __init__(
        self, shape: ModelShape, tensor: TensorGroup = ALONE, token_embedding: VocabularyEmbedding | None = None
    ) -> None:
        super().__init__()
        self.shape, self.tensor = shape, tensor
        if shape.norm_position == "before":
            self.final_norm = build_norm(shape, tensor)
        matrix = token_embedding or VocabularyEmbedding(shape.vocab_size, shape.width, tensor)
        if shape.tied_embeddings:
            self.token_embedding = matrix
        else:
            self.output = matrix

    def forward(self, x_BTD: Tensor, chosen_BT: Tensor | None = None) -> Tensor:
        """[B, T, D] -> this process's logits [B, T, V / size]; with `chosen_BT` [N, V / size], where it is true only.

        T is all tokens, also where x has this process's part of them only.
        """
        if chosen_BT is not None and not self.tensor.splits_sequence:
            x_BTD, chosen_BT = x_BTD[chosen_BT], None
        if self.shape.norm_position == "before":
            x_BTD = self.final_norm(x_BTD)
        matrix = self.token_embedding if self.shape.tied_embeddings else self.output
        return vocabulary_logits(x_BTD, matrix.weight, self.tensor, chosen_BT)


def run_block(
    block: nn.Module,
    x_BTD: Tensor,
    context: RowContext,
    checkpointed: bool = False,
    cache: KeyValueCache | None = None,
) -> Tensor:
    """One block; `checkpointed`: its activations are computed again in the backward pass (Chen et al. 2016).

    What all blocks share is prepared when the first one runs, if they are given the same context object.
    """
    shape, tensor = block.shape, block.tensor
    assert isinstance(shape, ModelShape)
    assert isinstance(tensor, TensorGroup)
    tokens = x_BTD.shape[1] * (tensor.size if tensor.splits_sequence else 1)
    device = x_BTD.device
    dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else x_BTD.dtype
    start = cache.length if cache is not None else 0
    inputs = context.attention_inputs(shape, tokens, dtype, device, start, tensor)
    y_BTD: Tensor
    if checkpointed and torch.is_grad_enabled():
        y_BTD = checkpoint(block, x_BTD, inputs, use_reentrant=False)
    else:
        y_BTD = block(x_BTD, inputs, cache)
    return y_BTD


def loss_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the negative log likelihoods (nats) of the target tokens; scalar, fp32.

    Logits [..., V], targets [...], all of which count. The caller divides by the number of valid tokens of the whole
    global batch: a mean here would weigh micro-batches with few valid tokens too much.
    """
    loss: Tensor = functional.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), reduction="sum")
    return loss
