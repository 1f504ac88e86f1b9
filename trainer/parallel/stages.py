"""Which consecutive layers a pipeline stage gets: the slowest stage as fast as can be.

The layers are the embedding, the blocks and the head, each with a cost: counted arithmetic, or measured seconds. The
partition of a sequence into consecutive parts with the smallest largest sum is found exactly, by dynamic programming
over (layers, stages): O(stages x layers^2), a few thousand sums for a hundred layers. Among equally good partitions
the one with the smallest sum of squares is taken, so that the load of the other stages is even too.

Pure arithmetic, without torch.
"""

from collections.abc import Sequence
from itertools import accumulate

from trainer.settings import ModelShape


def balance(costs: Sequence[float], stages: int) -> list[int]:
    """Bounds of the stages, `stages` + 1 ascending numbers: stage i has the layers bounds[i] to bounds[i + 1] - 1.

    No stage is empty. Raises ValueError when there are fewer layers than stages or a cost is below zero.
    """
    layers = len(costs)
    if not 1 <= stages <= layers:
        raise ValueError(f"{layers} layers cannot be divided among {stages} pipeline stages")
    if any(cost < 0 for cost in costs):
        raise ValueError("costs must not be below zero")
    before = [0.0, *accumulate(costs)]
    # best[end]: (largest sum, sum of squares) of the first `end` layers in the stages so far.
    best: list[tuple[float, float] | None] = [None] * (layers + 1)
    best[0] = (0.0, 0.0)
    choices: list[list[int]] = []
    for stage in range(1, stages + 1):
        following: list[tuple[float, float] | None] = [None] * (layers + 1)
        choice = [0] * (layers + 1)
        for end in range(stage, layers + 1):
            for start in range(stage - 1, end):
                earlier = best[start]
                if earlier is None:
                    continue
                cost = before[end] - before[start]
                found = (max(earlier[0], cost), earlier[1] + cost * cost)
                current = following[end]
                if current is None or found < current:
                    following[end], choice[end] = found, start
        best = following
        choices.append(choice)
    bounds = [layers]
    for choice in reversed(choices):
        bounds.append(choice[bounds[-1]])
    return bounds[::-1]


def counted_costs(shape: ModelShape) -> list[float]:
    """Multiplications a token of embedding, each block and head, in the forward pass.

    A block's are those of its matrices and of attention over half the context; the head's are those of the output
    matrix. The embedding looks up: nothing is multiplied.
    """
    width, head_width = shape.width, shape.head_width
    attended = shape.heads * head_width
    projections = width * (attended + 2 * shape.key_value_heads * head_width) + attended * width
    scores_and_sums = attended * shape.context_length
    matrices = 2 if shape.activation == "gelu" else 3
    block = projections + scores_and_sums + matrices * width * shape.inner_width
    return [0.0, *[float(block)] * shape.layers, float(width * shape.vocab_size)]
