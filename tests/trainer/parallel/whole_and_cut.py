"""What the tests of shared layers have in common: whole values from a seed, their cuts, and what counts as equal."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from trainer.parallel.tensor_group import TensorGroup
from trainer.ranks import Ranks


def groups_of(ranks: Ranks) -> Iterator[TensorGroup]:
    """All ranks as one tensor group, without and with sequence parallelism."""
    for sequence in (False, True):
        yield TensorGroup(ranks.rank, ranks.world, None, sequence)


class Drawn:
    """fp64 values that are the same on every rank."""

    def __init__(self, ranks: Ranks, seed: int = 0) -> None:
        self.device, self.generator = ranks.device, torch.Generator().manual_seed(seed)

    def values(self, *shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=self.generator).to(self.device)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self.generator).to(self.device)


def cut(whole: Tensor, tensor: TensorGroup, dimension: int, parts: Sequence[int] | None = None) -> Tensor:
    """A rank's part: of each of `parts` its own piece, one after the other."""
    pieces = torch.split(whole, list(parts) if parts else whole.shape[dimension], dimension)
    return torch.cat([piece.chunk(tensor.size, dimension)[tensor.rank] for piece in pieces], dimension)


def tokens_of(whole: Tensor, tensor: TensorGroup) -> Tensor:
    """What a rank has of a value [.., T, D] that flows between layers."""
    return cut(whole, tensor, -2) if tensor.sequence else whole


def leaf(value: Tensor) -> Tensor:
    return value.detach().clone().requires_grad_(True)


def assert_equal(found: Tensor | None, wanted: Tensor | None, *, to: float = 1e-12) -> None:
    """Equal to `to` of the largest value."""
    assert found is not None
    assert wanted is not None
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    difference = (found.detach() - wanted.detach()).abs().max().item()
    assert difference <= to * max(1.0, wanted.abs().max().item()), f"differ by {difference}"
