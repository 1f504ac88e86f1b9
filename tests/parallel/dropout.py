"""What dropout drops in a gradient of the engine, seen from outside, and whether it drops what it must.

The tensor ranks of a copy hold the same residual stream and must drop the same of it; of their own heads, and with
sequence parallelism of their own tokens, they must drop independently, and so must copies and stages.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

from tests.parallel.cases import TOKENS, Case, batch_of, compute_gradient, make_engine
from trainer.model.dropout import ResidualDropout
from trainer.parallel.layout import Layout
from trainer.ranks import Ranks
from trainer.seeds import seed_of

Dropped = dict[str, Tensor]
""""residual" and "attention": true where a value was dropped, flat, in the order of the forward pass."""


def dropped_by(ranks: Ranks, case: Case) -> Dropped:
    """In one gradient of this process, with the random numbers that the training loop gives it."""
    engine = make_engine(ranks, case)
    found: dict[str, list[Tensor]] = {"residual": [], "attention": []}
    for module in engine.deepspeed.module.modules():
        if isinstance(module, ResidualDropout):
            module.register_forward_hook(lambda _, __, after: found["residual"].append((after == 0).flatten().cpu()))
    torch.manual_seed(seed_of(0, "dropout", 0, ranks.rank // case.layout.tensor))
    attention = partial(_observed, functional.scaled_dot_product_attention, found["attention"])
    with patch.object(functional, "scaled_dot_product_attention", attention):
        compute_gradient(engine, ranks, batch_of("ragged", 4))
    engine.close()
    return {kind: torch.cat(masks) for kind, masks in found.items()}


def _observed(
    original: Callable[..., Tensor], masks: list[Tensor], q: Tensor, k: Tensor, v: Tensor, **more: Any
) -> Tensor:
    """Attention; and again with the same random numbers and with values that show each weight by itself."""
    random: Any = torch.cuda if q.is_cuda else torch
    before = random.get_rng_state()
    result = original(q, k, v, **more)
    after = random.get_rng_state()
    random.set_rng_state(before)
    with torch.no_grad():
        weights = original(q, k, torch.eye(TOKENS, device=v.device).expand(*v.shape[:2], -1, -1), **more)
    random.set_rng_state(after)
    seen = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    masks.append((weights == 0).cpu()[..., seen].flatten())
    return result


def problems_of_dropout(layout: Layout, rate: float, by_rank: Sequence[Dropped]) -> list[str]:
    """Ranks that drop another share than the rate, the same where they must not, or not the same where they must."""
    found = []
    for kind in ("residual", "attention"):
        masks = [dropped[kind] for dropped in by_rank]
        for rank, mask in enumerate(masks):
            if not _is_near(mask.float().mean().item(), rate, len(mask)):
                found.append(f"{kind}: rank {rank} drops {mask.float().mean().item():.3f}")
        for one in range(len(masks)):
            for two in range(one):
                places = layout.coordinates(one), layout.coordinates(two)
                are_peers = places[0].data == places[1].data and places[0].pipeline == places[1].pipeline
                if are_peers and kind == "residual" and not layout.sequence:
                    if not torch.equal(masks[one], masks[two]):
                        found.append(f"{kind}: ranks {two} and {one} hold the same and drop different values")
                    continue
                count = min(len(masks[one]), len(masks[two]))  # stages have different layers
                agreed = (masks[one][:count] == masks[two][:count]).float().mean().item()
                if not _is_near(agreed, rate**2 + (1 - rate) ** 2, count):
                    found.append(f"{kind}: ranks {two} and {one} do not drop independently")
    return found


def _is_near(share: float, expected: float, count: int) -> bool:
    """Within five standard deviations of a mean of independent values."""
    return abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / count)
