"""What this machine has to train on, found without importing torch."""

import os
from pathlib import Path


def count_gpus() -> int:
    """NVIDIA GPUs that a process started here would see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return sum(path.name.removeprefix("nvidia").isdigit() for path in Path("/dev").glob("nvidia*"))


def count_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))
