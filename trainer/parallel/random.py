"""Random numbers in layers that are shared out: different on each process where they work on different things.

Dropout on what all processes of a tensor group have alike must drop alike; on their own heads, or their own tokens, it
must not. Every process of a group draws from an equal default stream; `split_random` leaves it for one of its own,
whose seed is drawn from the default stream. So a run that replays the default stream (activation checkpointing, resume)
replays both, and what is drawn inside never moves the stream outside.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainer.parallel.tensor_group import TensorGroup


@contextmanager
def split_random(tensor: TensorGroup) -> Iterator[None]:
    """Within, random numbers differ among the processes of the group; after, they agree again.

    Cost: about 30 us; none in a group of one. On a GPU nothing waits for it.
    """
    if tensor.size == 1:
        yield
        return
    # From the CPU's stream also where tensors are on a GPU: reading a number from there would wait for all its work.
    seed = int(torch.randint(2**62, (tensor.size,))[tensor.rank])
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    before, gpu_before = torch.get_rng_state(), torch.cuda.get_rng_state() if on_gpu else None
    try:
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.manual_seed(seed)
        yield
    finally:
        torch.set_rng_state(before)
        if gpu_before is not None:
            torch.cuda.set_rng_state(gpu_before)
