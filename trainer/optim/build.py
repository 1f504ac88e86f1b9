"""From settings and declarations to the optimizer of one process."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from trainer.model.declaration import ParameterDeclaration
from trainer.optim.adafactor import Adafactor
from trainer.optim.eager import AdamW
from trainer.optim.groups import decay_groups
from trainer.optim.muon import Muon
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.settings import AdafactorSettings, MuonSettings, OptimizerSettings

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def build_optimizer(
    named_parameters: Mapping[str, nn.Parameter],
    declarations: Sequence[ParameterDeclaration],
    settings: OptimizerSettings,
    *,
    tensor: TensorGroup = ALONE,
    data: "ProcessGroup | None" = None,
    shard: bool = False,
) -> torch.optim.Optimizer:
    """The optimizer of the parameters that this process has.

    Args:
        named_parameters: Canonical name -> this process's part.
        declarations: Of the whole model, or of these parameters; those of other processes are passed over.
        settings: Which optimizer, and its numbers.
        tensor: The processes that hold the other parts of cut parameters.
        data: The processes that hold the same parts. None: this one alone.
        shard: Whether Adafactor and Muon share out whole parameters among `data`. AdamW is sharded by DeepSpeed.
    """
    held = [declaration for declaration in declarations if declaration.name in named_parameters]
    if missing := set(named_parameters) - {declaration.name for declaration in held}:
        raise ValueError(f"no declaration of {', '.join(sorted(missing))}")
    if isinstance(settings, AdafactorSettings):
        return Adafactor(named_parameters, held, settings, tensor=tensor, data=data, shard=shard)
    if isinstance(settings, MuonSettings):
        return Muon(named_parameters, held, settings, tensor=tensor, data=data, shard=shard)
    groups = [
        {"params": [named_parameters[name] for name in names], "weight_decay": decay}
        for names, decay in decay_groups(held, settings)
    ]
    return AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, weight_decay=0.0, fused=True)
