"""The kinds of state that optimizers keep of a parameter, and how each lies in tensor-parallel slices.

Arithmetic without torch: checkpoints are also read where there is none. A kind is cut like the parameter itself, or,
for the two that Adafactor keeps of a matrix, along the one dimension it has left.
"""

from dataclasses import replace

from trainer.model.declaration import ParameterDeclaration
from trainer.model.partition import Partition
from trainer.settings import OptimizerSettings

ROWS = "rows"
"""State of a matrix: mean squared gradient of each row, one value an output."""
COLUMNS = "columns"
"""State of a matrix: mean squared gradient of each column, [parts, inputs]."""
FIRST_MOMENT = "exp_avg"
"""AdamW's mean gradient; Adafactor's mean update, where `beta1` is given."""
SECOND_MOMENT = "exp_avg_sq"
"""AdamW's squared gradient of each value, and Adafactor's of a vector."""
MOMENTUM = "momentum"
"""Muon's mean gradient of a matrix."""


def is_orthogonalized(declaration: ParameterDeclaration) -> bool:
    """Whether a parameter is Muon's; the others are left to AdamW."""
    return declaration.role == "matrix"


def kinds_of(declaration: ParameterDeclaration, settings: OptimizerSettings) -> tuple[str, ...]:
    """What an optimizer remembers of a parameter, beside the number of steps."""
    if settings.kind == "adafactor":
        second = (ROWS, COLUMNS) if len(declaration.shape) > 1 else (SECOND_MOMENT,)
        return second if settings.beta1 is None else (*second, FIRST_MOMENT)
    if settings.kind == "muon" and is_orthogonalized(declaration):
        return (MOMENTUM,)
    return (FIRST_MOMENT, SECOND_MOMENT)


def state_declaration(declaration: ParameterDeclaration, kind: str) -> ParameterDeclaration:
    """Full shape and partition of one kind of a parameter's state; values start at zero."""
    partition = declaration.partition
    if kind == ROWS:
        shape: tuple[int, ...] = declaration.shape[:1]
        partition = partition if partition is not None and partition.dimension == 0 else None
    elif kind == COLUMNS:
        parts = 1 if partition is None else len(partition.parts)
        inputs = declaration.shape[1]
        shape = (parts, inputs)
        partition = Partition(1, (inputs,)) if partition is not None and partition.dimension == 1 else None
    else:
        shape = declaration.shape
    return replace(declaration, shape=shape, partition=partition, initial="zeros")
