"""Few large messages: parameters taken together for sending, and the owners' weights sent to the other copies.

Cost: each weight is sent once a step, in messages of up to `MESSAGE_VALUES`, which also bound the memory for it.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

MESSAGE_VALUES = 1 << 25
"""Values (fp32) that are sent or worked on at once: 128 MiB."""

Item = TypeVar("Item")


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
