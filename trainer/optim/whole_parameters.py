"""What Adafactor and Muon share: parameters stepped whole, each by its owner among the copies.

State is made at once, not at the first step, so that a checkpoint can be written into it. Where a parameter holds
several matrices one after the other (queries, keys, values; gate, up: the parts of its partition), each is a matrix by
itself, with and without tensor parallelism.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from trainer.model.declaration import ParameterDeclaration
from trainer.optim.eager import EagerOptimizer
from trainer.optim.groups import decay_groups
from trainer.optim.kinds import state_declaration
from trainer.optim.messages import spread
from trainer.optim.ownership import owners_of
from trainer.parallel.tensor_group import TensorGroup
from trainer.settings import OptimizerSettings


@dataclass(frozen=True, eq=False)
class Held:
    """A parameter that this process has, or has its part of."""

    parameter: nn.Parameter
    """This process's part."""
    declaration: ParameterDeclaration
    """Of the whole."""
    group: dict[str, Any]
    """The optimizer's group that it is in: `lr` and `weight_decay`."""
    owner: int
    """The copy that steps it."""

    @property
    def gradient(self) -> Tensor:
        """Of this process's part; zeros where the loss did not depend on it."""
        gradient = self.parameter.grad
        return torch.zeros_like(self.parameter) if gradient is None else gradient

    def decay(self) -> None:
        """Take away the decoupled weight decay of this step."""
        if self.group["weight_decay"]:
            self.parameter.mul_(1.0 - self.group["lr"] * self.group["weight_decay"])


class WholeParameterOptimizer(EagerOptimizer):
    """An optimizer whose parameters are stepped whole."""

    def __init__(
        self,
        named_parameters: Mapping[str, nn.Parameter],
        declarations: Sequence[ParameterDeclaration],
        settings: OptimizerSettings,
        *,
        tensor: TensorGroup,
        data: distributed.ProcessGroup | None,
        shard: bool,
    ) -> None:
        """Take the parameters up and make the state of those owned here.

        Args:
            named_parameters: Canonical name -> this process's part.
            declarations: Of exactly these, in an order that is the same on all processes of `tensor` and `data`.
            settings: Of the optimizer.
            tensor: The processes that hold the other parts.
            data: The processes that hold the same parts. None: this one alone.
            shard: Whether they share the work out. Without it each does all.
        """
        groups = decay_groups(declarations, settings)
        by_name = {declaration.name: declaration for declaration in declarations}
        super().__init__(
            [
                {"params": [named_parameters[name] for name in names], "weight_decay": decay, "lr": settings.lr}
                for names, decay in groups
            ],
            {},
        )
        self.tensor = tensor
        self._data = data if shard and data is not None and distributed.get_world_size(data) > 1 else None
        self._copies = 1 if self._data is None else distributed.get_world_size(self._data)
        self._here = 0 if self._data is None else distributed.get_rank(self._data)
        owners = dict(zip(by_name, owners_of(declarations, settings, self._copies), strict=True))
        group_of = {name: group for (names, _), group in zip(groups, self.param_groups, strict=True) for name in names}
        self.held = [
            Held(named_parameters[name], declaration, group_of[name], owners[name])
            for name, declaration in by_name.items()
        ]
        self.owned = [held for held in self.held if held.owner == self._here]
        self._owner_of: dict[Tensor, int] = {held.parameter: held.owner for held in self.held}
        self.steps = 0
        """Steps taken."""
        for held in self.owned:
            for kind in self.own_kinds(held.declaration):
                shape = state_declaration(held.declaration, kind).local_shape(tensor.size)
                self.state[held.parameter][kind] = held.parameter.detach().new_zeros(shape)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Follow the gradients; every process of `tensor` and `data` must call it."""
        if closure is not None:
            raise ValueError("the gradient is computed before the step, not by a closure")
        self.steps += 1
        self.update(self.owned)
        if self._data is not None:
            spread([held.parameter for held in self.held], [held.owner for held in self.held], self._data)

    @property
    def is_shared_out(self) -> bool:
        """Whether each parameter's state is kept by one of the copies alone."""
        return self._data is not None

    def owner_of(self, parameter: Tensor) -> int:
        """The number, among the copies, of the process that keeps a parameter's state; 0 where all keep all."""
        return self._owner_of[parameter]

    def state_kinds(self, parameter: Tensor) -> dict[str, Tensor]:
        """Kind -> live state of a parameter: what may be saved and written into. Empty where another copy owns it."""
        return dict(self.state[parameter]) if parameter in self.state else {}

    def set_steps(self, steps: int) -> None:
        """Go on as after so many steps."""
        self.steps = steps

    @abstractmethod
    def own_kinds(self, declaration: ParameterDeclaration) -> tuple[str, ...]:
        """The kinds of state that this class itself keeps of a parameter."""

    @abstractmethod
    def update(self, owned: Sequence[Held]) -> None:
        """Step these parameters."""
