"""The state of torch's AdamW before its first step."""

from collections.abc import Iterable

import torch
from torch import Tensor


def make_adam_state(optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor]) -> None:
    """Make moments and step counts of these parameters as AdamW's first step would; what is there already stays."""
    for parameter in parameters:
        if not optimizer.state[parameter]:
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter.detach()),
                "exp_avg_sq": torch.zeros_like(parameter.detach()),
            }


def set_adam_steps(optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Tell AdamW how many steps its moments have seen."""
    for state in optimizer.state.values():
        state["step"].fill_(steps)
