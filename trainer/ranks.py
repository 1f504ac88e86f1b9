"""The processes of a run and what they tell each other; the rest of the trainer sees numbers, not collectives."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

TIMEOUT = timedelta(minutes=30)
"""A collective that takes longer has lost a process."""


@dataclass(frozen=True)
class Ranks:
    """This process among the others."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums over all processes, in fp64, the same on each."""
        totals = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(totals)
        summed: list[float] = totals.tolist()
        return summed

    def barrier(self) -> None:
        """Wait until every process is here."""
        distributed.barrier()

    def from_first(self, value: Any) -> Any:
        """What the first process gives; what the others give is not looked at."""
        held = [value]
        distributed.broadcast_object_list(held, src=0, device=self.device)
        return held[0]

    def from_all(self, value: Any) -> list[Any]:
        """What each process gives, in the order of ranks."""
        gathered: list[Any] = [None] * self.world
        distributed.all_gather_object(gathered, value)
        return gathered


def join_ranks(device_type: str, store: Any = None, timeout: timedelta = TIMEOUT) -> Ranks:
    """Meet the other processes of the run, as RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say.

    `store` is where they have met already (None: nowhere); `timeout` is that of every later message.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device(device_type, local_rank) if device_type == "cuda" else torch.device(device_type)
    if device_type == "cuda":
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        rank, world = int(os.environ.get("RANK", "-1")), int(os.environ.get("WORLD_SIZE", "-1"))
        backend = "nccl" if device_type == "cuda" else "gloo"
        if store is None:
            distributed.init_process_group(backend, timeout=timeout)
        else:
            distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
    return Ranks(distributed.get_rank(), distributed.get_world_size(), device)


def leave_ranks() -> None:
    """Say goodbye, so that no peer waits for this process."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
