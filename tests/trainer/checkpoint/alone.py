"""A run of one process, without a process group."""

from collections.abc import Sequence
from typing import Any

import torch

from trainer.ranks import Ranks


class Alone(Ranks):
    """What the only process says is what all say."""

    def __init__(self) -> None:
        super().__init__(0, 1, torch.device("cpu"))

    def sum(self, values: Sequence[float]) -> list[float]:
        return [float(value) for value in values]

    def barrier(self) -> None:
        pass

    def from_first(self, value: Any) -> Any:
        return value

    def from_all(self, value: Any) -> list[Any]:
        return [value]
