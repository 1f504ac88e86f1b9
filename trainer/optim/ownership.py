"""Who keeps the state of which parameter, where optimizers need parameters whole: arithmetic without torch.

DeepSpeed's ZeRO cuts the flattened parameters anywhere, which suits optimizers that treat every value by itself. One
that looks at rows, columns or singular values needs its matrix whole. So whole parameters are given to the copies:
each steps those it owns, and sends the new weights to the others (`trainer.optim.messages`). Gradients are the same on
all copies before, weights after. An owner does exactly what it would do alone, so the result is equal bit for bit to
that without sharing out.
"""

from collections.abc import Sequence

from trainer.model.declaration import ParameterDeclaration
from trainer.optim.kinds import is_orthogonalized
from trainer.settings import OptimizerSettings

ADAMW_COST = 1000.0
"""Arithmetic of Muon that takes as long as AdamW takes for a value, which waits for memory: a rough figure."""


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


def owners_of(declarations: Sequence[ParameterDeclaration], settings: OptimizerSettings, copies: int) -> list[int]:
    """The copy that steps each of the parameters that a process and its copies have."""
    return assign_owners([step_cost(declaration, settings) for declaration in declarations], copies)


def step_cost(declaration: ParameterDeclaration, settings: OptimizerSettings) -> float:
    """Work of a step for a parameter, to be compared with that for others of the same optimizer."""
    if settings.kind != "muon":
        return declaration.size
    if not is_orthogonalized(declaration):
        return ADAMW_COST * declaration.size
    rows, columns = declaration.shape
    if declaration.partition is None:
        return orthogonalization_cost(rows, columns, settings.newton_schulz_steps)
    by_rows = declaration.partition.dimension == 0
    return sum(
        orthogonalization_cost(part if by_rows else rows, columns if by_rows else part, settings.newton_schulz_steps)
        for part in declaration.partition.parts
    )


def orthogonalization_cost(rows: int, columns: int, steps: int) -> float:
    """Floating-point operations of `trainer.optim.orthogonal.orthogonalize`."""
    small, large = min(rows, columns), max(rows, columns)
    return steps * (4.0 * small * small * large + 2.0 * small**3)
