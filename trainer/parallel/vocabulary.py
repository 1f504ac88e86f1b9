"""Embedding, logits and loss with the vocabulary shared out among the processes of a tensor group.

Each process has ceil(vocabulary / size) rows of the embedding, so that any vocabulary can be cut; the last ones' are
filled up with zeros. No token is a filled-up row and the loss leaves out their logits, so they never get a gradient.

The loss needs no gathered logits (Shoeybi et al. 2019, section 3): of its logits each process sends two numbers a
token, log-sum-exp and the target's logit, in one message; all processes combine them in the same order and have the
same bits. For the backward pass only the logits themselves are kept, in their own type: the gradient is
softmax - one-hot, with softmax = exp(logits - log-sum-exp). Rows are worked on in pieces, so that what is needed
besides is a small part of the logits.

The z-loss adds `z_loss` x log-sum-exp^2 (Chowdhery et al. 2022, PaLM, section 5): it keeps logits near zero.

In a group of one embedding and logits are torch's own. The loss is the same code for every group: with one thread of a
CPU it takes 0.6 of the time of torch's cross-entropy forward and backward in fp32, 0.35 of it from bfloat16 logits, of
which torch keeps an fp32 copy.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from trainer.parallel.collectives import gather_sequence, reduce_from_tensor, reduce_scatter_sequence, stack_of
from trainer.parallel.linear import column_parallel
from trainer.parallel.tensor_group import ALONE, TensorGroup

_PIECE = {"cpu": 1 << 18}
_DEFAULT_PIECE = 1 << 26
"""Logits in one piece of work: about the cache of a core; on a GPU as many as keep it busy."""


def vocabulary_rows(vocab: int, tensor: TensorGroup) -> int:
    """Rows of each process's part, filled-up ones included."""
    return -(-vocab // tensor.size)


def vocabulary_range(vocab: int, tensor: TensorGroup) -> range:
    """The token ids whose rows this process has."""
    rows = vocabulary_rows(vocab, tensor)
    return range(min(tensor.rank * rows, vocab), min((tensor.rank + 1) * rows, vocab))


class VocabularyEmbedding(nn.Module):
    """A vector for each token; the weight [ceil(vocab / size), width] comes from outside."""

    def __init__(self, vocab: int, width: int, tensor: TensorGroup = ALONE) -> None:
        super().__init__()
        self.vocab, self.tensor = vocab, tensor
        self.weight = nn.Parameter(torch.empty(vocabulary_rows(vocab, tensor), width))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """[B, T] ids -> [B, T, width]; with sequence parallelism this process's T / size tokens."""
        if self.tensor.size == 1:
            return functional.embedding(tokens_BT, self.weight)
        _check_ids(tokens_BT, self.vocab)
        own = vocabulary_range(self.vocab, self.tensor)
        missing = (tokens_BT < own.start) | (tokens_BT >= own.stop)
        found_BTD = functional.embedding((tokens_BT - own.start).masked_fill(missing, 0), self.weight)
        found_BTD = found_BTD.masked_fill(missing.unsqueeze(-1), 0.0)
        if self.tensor.sequence:
            return reduce_scatter_sequence(found_BTD, self.tensor)
        return reduce_from_tensor(found_BTD, self.tensor)


def vocabulary_logits(
    x_BTD: Tensor, weight_VD: Tensor, tensor: TensorGroup = ALONE, chosen_BT: Tensor | None = None
) -> Tensor:
    """This process's part of the logits, [B, T, V / size]; with `chosen_BT` [N, V / size], where it is true only.

    T is all tokens, also where x has this process's part of them only (sequence parallelism).
    """
    if chosen_BT is None:
        return column_parallel(x_BTD, weight_VD, None, tensor)
    if tensor.splits_sequence:
        return functional.linear(gather_sequence(x_BTD, tensor)[chosen_BT], weight_VD)
    return column_parallel(x_BTD[chosen_BT], weight_VD, None, tensor)


def token_losses(
    local_logits: Tensor, targets: Tensor, vocab: int, tensor: TensorGroup = ALONE, z_loss: float = 0.0
) -> Tensor:
    """Loss (nats) of each target, the same on all processes; 0, without gradient, where the target is negative.

    Logits [.., V / size] of this process, targets [..] of the whole vocabulary. Computed in fp32, or fp64 when the
    logits are; so is the result. Raises RuntimeError when a target is no token of the vocabulary (on a GPU, later) and
    ValueError when the logits are not of this vocabulary and group.
    """
    if local_logits.shape[-1] != vocabulary_rows(vocab, tensor):
        raise ValueError(
            f"{local_logits.shape[-1]} logits a token, a vocabulary of {vocab} has {vocabulary_rows(vocab, tensor)} "
            f"on each of {tensor.size} processes"
        )
    _check_ids(targets, vocab)
    flat = targets.flatten().long()
    losses: Tensor = _TokenLosses.apply(local_logits.flatten(0, -2), flat, vocab, tensor, z_loss)  # type: ignore[no-untyped-call]
    return losses.view(targets.shape)


def _check_ids(ids: Tensor, vocab: int) -> None:
    """As torch's own layers do; without it an id that nobody has would be a vector of zeros. Nothing waits for it."""
    torch._assert_async((ids < vocab).all(), f"a token id is not below the vocabulary's {vocab}")


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, logits_NV: Tensor, targets_N: Tensor, vocab: int, tensor: TensorGroup, z_loss: float
    ) -> Tensor:
        own = vocabulary_range(vocab, tensor)
        dtype = torch.promote_types(logits_NV.dtype, torch.float32)
        column_N1 = (targets_N - own.start).unsqueeze(-1)
        has_target_N1 = (column_N1 >= 0) & (column_N1 < len(own))
        if len(own):
            sums_N = torch.empty(len(targets_N), dtype=dtype, device=logits_NV.device)
            for piece in _pieces(logits_NV):
                torch.logsumexp(logits_NV[piece, : len(own)].to(dtype), -1, out=sums_N[piece])
            found_N1 = logits_NV.gather(-1, column_N1.clamp(0, len(own) - 1)).to(dtype)
        else:
            sums_N = torch.full(targets_N.shape, -torch.inf, dtype=dtype, device=logits_NV.device)
            found_N1 = sums_N.new_zeros(len(targets_N), 1)
        target_N = found_N1.masked_fill(~has_target_N1, 0.0).squeeze(-1)
        if tensor.size > 1:
            all_S2N = stack_of(torch.stack([sums_N, target_N]), tensor)
            sums_N, target_N = torch.logsumexp(all_S2N[:, 0], 0), all_S2N[:, 1].sum(0)
        context.own, context.z_loss = own, z_loss
        context.save_for_backward(logits_NV, targets_N, sums_N)
        losses_N = sums_N - target_N
        if z_loss:
            losses_N += z_loss * sums_N.square()
        return losses_N.masked_fill_(targets_N < 0, 0.0)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient_N: Tensor) -> tuple[Tensor, None, None, None, None]:
        logits_NV, targets_N, sums_N = context.saved_tensors
        own: range = context.own
        one_hot_N = gradient_N.masked_fill(targets_N < 0, 0.0)
        softmax_N = one_hot_N * (1 + 2 * context.z_loss * sums_N)
        column_N1 = (targets_N - own.start).unsqueeze(-1)
        has_target_N1 = (column_N1 >= 0) & (column_N1 < len(own))
        subtracted_N1 = -one_hot_N.unsqueeze(-1).masked_fill(~has_target_N1, 0.0)
        column_N1 = column_N1.clamp(0, max(0, len(own) - 1))
        result_NV = torch.empty_like(logits_NV)
        result_NV[:, len(own) :] = 0.0
        if len(own):
            is_wide = result_NV.dtype == sums_N.dtype  # else softmax is computed in fp32 and rounded once
            for piece in _pieces(logits_NV):
                own_part = result_NV[piece, : len(own)]
                part = torch.sub(
                    logits_NV[piece, : len(own)], sums_N[piece].unsqueeze(-1), out=own_part if is_wide else None
                )
                part.exp_().mul_(softmax_N[piece].unsqueeze(-1))
                part.scatter_add_(-1, column_N1[piece], subtracted_N1[piece])
                if not is_wide:
                    own_part.copy_(part)
        return result_NV, None, None, None, None


def _pieces(logits_NV: Tensor) -> Iterator[slice]:
    rows, columns = logits_NV.shape
    size = max(1, _PIECE.get(logits_NV.device.type, _DEFAULT_PIECE) // max(1, columns))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
