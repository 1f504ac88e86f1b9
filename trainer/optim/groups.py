"""Which parameters weight decay pulls on: a rule over declarations, never over names or module types."""

from collections.abc import Iterable

from trainer.model.declaration import ParameterDeclaration
from trainer.settings import OptimizerSettings

EMBEDDINGS = frozenset({"token_embedding", "position_embedding", "output"})
"""Roles of matrices with a row for each token or position."""


def is_decayed(declaration: ParameterDeclaration, settings: OptimizerSettings) -> bool:
    """Whether weight decay applies to a parameter."""
    if settings.decay == "none" or (declaration.role in EMBEDDINGS and not settings.decay_embeddings):
        return False
    return settings.decay == "all" or len(declaration.shape) > 1


def decay_groups(
    declarations: Iterable[ParameterDeclaration], settings: OptimizerSettings
) -> list[tuple[list[str], float]]:
    """(names, weight decay), in the order of the declarations; a group that would be empty is left out, since
    DeepSpeed cannot shard one."""
    declarations = list(declarations)
    groups = []
    for decayed, weight_decay in ((True, settings.weight_decay), (False, 0.0)):
        names = [item.name for item in declarations if is_decayed(item, settings) is decayed]
        if names:
            groups.append((names, weight_decay))
    return groups
