"""Who keeps the state of which parameter, where optimizers need parameters whole; and how the others learn the result.

DeepSpeed's ZeRO cuts the flattened parameters anywhere, which suits optimizers that treat every value by itself. One
that looks at rows, columns or singular values needs its matrix whole. So whole parameters are given to the copies:
each steps those it owns, and sends the new weights to the others. Gradients are the same on all copies before, weights
after. An owner does exactly what it would do alone, so the result is equal bit for bit to that without sharing out.

Cost: state divided by the number of copies (as well as whole parameters can be); each weight is sent once, in messages
of up to `MESSAGE_VALUES`.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

MESSAGE_VALUES = 1 << 25
"""Values (fp32) that are sent or worked on at once: 128 MiB."""

Item = TypeVar("Item")


def assign_owners(costs: Sequence[float], owners: int) -> list[int]:
    """The owner of each item: the largest first to whoever has the least (Graham 1969), ties to the lowest number.

    No owner has more than 4/3 of the best possible.
    """
    loads = [0.0] * owners
    found = [0] * len(costs)
    for item in sorted(range(len(costs)), key=lambda item: (-costs[item], item)):
        owner = min(range(owners), key=lambda number: (loads[number], number))
        loads[owner] += costs[item]
        found[item] = owner
    return found


def in_messages(items: Sequence[Item], sizes: Sequence[int]) -> Iterator[list[Item]]:
    """Consecutive items, as many at a time as a message holds; one that is larger comes alone."""
    gathered: list[Item] = []
    filled = 0
    for item, size in zip(items, sizes, strict=True):
        if gathered and filled + size > MESSAGE_VALUES:
            yield gathered
            gathered, filled = [], 0
        gathered.append(item)
        filled += size
    if gathered:
        yield gathered


def spread(parameters: Sequence[Tensor], owners: Sequence[int], group: distributed.ProcessGroup) -> None:
    """Overwrite each parameter with its owner's; every process of the group must call it with the same owners."""
    here = distributed.get_rank(group)
    for owner in range(distributed.get_world_size(group)):
        owned = [parameter for parameter, number in zip(parameters, owners, strict=True) if number == owner]
        for sent in in_messages(owned, [parameter.numel() for parameter in owned]):
            flat = torch.cat([parameter.reshape(-1) for parameter in sent])
            distributed.broadcast(flat, group=group, group_src=owner)
            if here != owner:
                parts = torch.split(flat, [parameter.numel() for parameter in sent])
                torch._foreach_copy_(sent, [part.view(p.shape) for part, p in zip(parts, sent, strict=True)])
