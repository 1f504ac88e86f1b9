"""Bytes that a forward pass keeps for the backward pass, a token of a micro-batch, counted layer by layer.

After Korthikanti et al. 2022 (Reducing Activation Recomputation in Large Transformer Models, section 4), for what this
model keeps: the residual stream and the norms are fp32; what enters matrix products has `element` bytes (2 under
autocast, 4 in fp32); attention is a fused kernel that keeps queries, keys, values, its result and one number a head
and token, never the [T, T] weights. tests/trainer/test_estimate.py compares with the tensors that autograd saves.

With t tensor-parallel processes what is cut counts 1/t. Sequence parallelism cuts the rest too. With activation
checkpointing a block keeps its input alone, and one block at a time is kept in full.
"""

from dataclasses import dataclass

from trainer.settings import ModelShape

STREAM = 4
"""Bytes of a value of the residual stream, of what norms keep, and of the loss: fp32."""


@dataclass(frozen=True)
class ActivationBytes:
    """Bytes a token of a micro-batch, on one process."""

    embedding: float
    """Kept by the embedding: ids, and the dropout's mask."""
    block: float
    """Kept by one block, without checkpointing."""
    block_input: float
    """The residual stream that enters a block: all that a checkpointed block keeps."""
    head: float
    """Kept by the last norm and the output layer's input."""
    logits: float
    """Logits and their gradient."""


def activation_bytes(
    shape: ModelShape, *, element: int, tensor: int = 1, sequence: bool = False, cuda: bool = True
) -> ActivationBytes:
    """What one process keeps of a token; `element` is 2 for bf16 and fp16, 4 for fp32.

    On a CPU (`cuda` false) RMSNorm keeps the normalised input too.
    """
    split = tensor if sequence else 1
    width, inner = shape.width, shape.inner_width
    attended = shape.heads * shape.head_width
    keys = shape.key_value_heads * shape.head_width
    kept_by_norm = STREAM * (1 if cuda or shape.norm == "layernorm" else 2)
    norm = (kept_by_norm * width + _statistics(shape)) / split
    matrix_input = element * width / split
    dropped = width / split if shape.dropout else 0.0
    attention = element * (attended + 2 * keys) + element * attended + STREAM * shape.heads
    if shape.qk_norm:
        attention += (attended + keys) * STREAM * (1 if cuda else 2) + STREAM * (shape.heads + shape.key_value_heads)
    if shape.positions == "rope" or shape.qk_norm:
        # The changed queries and keys are kept, beside the projection, of which the values are a part.
        attention += element * (attended + keys)
    feed_forward = element * inner * (4 if shape.gated else 2)
    return ActivationBytes(
        embedding=8 + dropped,
        block=2 * (norm + matrix_input + dropped) + (attention + feed_forward) / tensor,
        block_input=STREAM * width / split,
        head=matrix_input + (norm if shape.norm_position == "before" else 0.0),
        logits=2 * element * -(-shape.vocab_size // tensor),
    )


def _statistics(shape: ModelShape) -> int:
    """Bytes of mean and deviation."""
    return STREAM * (2 if shape.norm == "layernorm" else 1)


def mask_bytes(
    shape: ModelShape, *, rows: int, tokens: int, element: int, tensor: int = 1, by_row: bool = False
) -> float:
    """Masks of attention, made once for all blocks of a forward pass; `by_row`: documents or prefixes differ by row.

    0 where plain causal order needs none. A penalty by distance (ALiBi) takes the place of a mask, one a head.
    """
    kinds = {window is not None and window < tokens for window in map(shape.window_of, range(shape.layers))}
    values = tokens * tokens * (rows if by_row else 1)
    if shape.positions == "alibi":
        return len(kinds) * values * element * shape.heads / tensor
    return sum(values for is_windowed in kinds if is_windowed or by_row)
