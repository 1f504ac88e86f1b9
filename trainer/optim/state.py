"""What optimizers remember, asked the same way of each of them: what checkpoints save and write into."""

import torch
from torch import Tensor

from trainer.optim.adam_state import make_adam_state, set_adam_steps
from trainer.optim.whole_parameters import WholeParameterOptimizer


def make_state(optimizer: torch.optim.Optimizer) -> None:
    """Make the state now, not at the first step, so that a checkpoint can be written into it."""
    if not isinstance(optimizer, WholeParameterOptimizer):
        make_adam_state(optimizer, [parameter for group in optimizer.param_groups for parameter in group["params"]])


def state_kinds(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """Kind -> live tensor of all that the optimizer remembers of a parameter here, but for the number of steps.

    Empty where another of the copies keeps it (see `WholeParameterOptimizer.owner_of`).
    """
    if isinstance(optimizer, WholeParameterOptimizer):
        return optimizer.state_kinds(parameter)
    return {kind: values for kind, values in optimizer.state[parameter].items() if kind != "step"}


def set_steps(optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Tell the optimizer how many steps its state has seen."""
    if isinstance(optimizer, WholeParameterOptimizer):
        optimizer.set_steps(steps)
    else:
        set_adam_steps(optimizer, steps)
