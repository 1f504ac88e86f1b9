"""Dropout on shared values drops alike on all ranks; on a rank's own values it does not, and both can be replayed."""

import torch
from torch import Tensor
from torch.autograd import backward
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tests.parallel.launcher import run_ranks
from tests.trainer.parallel.whole_and_cut import leaf
from trainer.parallel.random import split_random
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.ranks import Ranks

RATE, VALUES = 0.3, 20_000


def dropped(device: torch.device) -> Tensor:
    return functional.dropout(torch.ones(VALUES, device=device), RATE) == 0


def draw(ranks: Ranks) -> dict[str, Tensor]:
    tensor = TensorGroup(ranks.rank, ranks.world)
    torch.manual_seed(5)
    masks = {"before": dropped(ranks.device)}
    with split_random(tensor):
        masks["own"] = dropped(ranks.device)
    masks["between"] = dropped(ranks.device)
    with split_random(tensor):
        masks["own again"] = dropped(ranks.device)
    masks["after"] = dropped(ranks.device)
    return {name: mask.cpu() for name, mask in masks.items()}


def draw_less_within(ranks: Ranks) -> Tensor:
    """What rank 0 draws within, the others do not."""
    torch.manual_seed(5)
    with split_random(TensorGroup(ranks.rank, ranks.world)):
        if ranks.rank == 0:
            dropped(ranks.device)
    return dropped(ranks.device).cpu()


def replay(ranks: Ranks) -> None:
    tensor = TensorGroup(ranks.rank, ranks.world)

    def block(x: Tensor) -> Tensor:
        x = functional.dropout(x * x, RATE)
        with split_random(tensor):
            x = functional.dropout(x * 2, RATE)
        return functional.dropout(x.sin(), RATE)

    results = []
    for recomputed in (False, True):
        torch.manual_seed(5)
        x = leaf(torch.linspace(0.0, 1.0, 1000, device=ranks.device))
        y = checkpoint(block, x, use_reentrant=False) if recomputed else block(x)
        after = torch.rand(3)
        backward(y.sum())
        assert x.grad is not None
        results.append((y.detach(), x.grad, after))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


def test_dropout_drops_at_its_rate_alike_outside_and_independently_inside() -> None:
    results = run_ranks(4, draw)
    for name in ("before", "between", "after"):
        assert all(torch.equal(result[name], results[0][name]) for result in results), name
    own = [result[name] for result in results for name in ("own", "own again")] + [results[0]["before"]]
    for mask in own:
        assert abs(mask.float().mean().item() - RATE) < 5 * (RATE * (1 - RATE) / VALUES) ** 0.5
    # Independent masks agree on a value with probability r^2 + (1 - r)^2.
    agreeing = RATE**2 + (1 - RATE) ** 2
    for first in range(len(own)):
        for second in range(first):
            agreed = (own[first] == own[second]).float().mean().item()
            assert abs(agreed - agreeing) < 5 * (agreeing * (1 - agreeing) / VALUES) ** 0.5


def test_what_is_drawn_inside_does_not_move_the_stream_outside() -> None:
    results = run_ranks(2, draw_less_within)
    assert torch.equal(results[0], results[1])


def test_activation_checkpointing_replays_both() -> None:
    run_ranks(2, replay)


def test_alone_the_stream_is_the_default_one() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(8)
    torch.manual_seed(5)
    with split_random(ALONE):
        assert torch.equal(torch.rand(8), wanted)


def test_an_error_inside_leaves_the_stream_as_it_was() -> None:
    torch.manual_seed(5)
    torch.randint(2**62, (2,))
    wanted = torch.rand(3)
    torch.manual_seed(5)
    try:
        with split_random(TensorGroup(1, 2)):
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.rand(3), wanted)
