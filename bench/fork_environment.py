"""The environment of a process that has imported everything and that training processes are forked from."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def environment_of_forks(accelerator: str) -> dict[str, str]:
    """One thread, no compiler processes, no warnings; `accelerator` is DeepSpeed's name of the device, cpu or cuda."""
    return {
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": accelerator,
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # looking for GPUs must not start CUDA before the fork
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
    }


@contextmanager
def lent(variables: dict[str, str]) -> Iterator[None]:
    """The first fork starts the process that all are forked from, which takes this process's environment."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
