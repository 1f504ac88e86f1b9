"""Adafactor (Shazeer & Stern 2018, algorithm 5): adaptive steps without a second moment of the size of the weights.

The squared gradient of a matrix is remembered as its mean over each row R and over each column C; the second moment is
estimated as R C^T / mean(R), which is the best of rank one by the divergence of Kullback and Leibler. It decays by
1 - t^-0.8, which needs no correction of a bias. The update is scaled down where its root mean square is above one.

Under tensor parallelism a mean along the cut dimension is a sum over the processes, and so is the size of an update:
two messages for each 32 M weights, of one value a row or column. As mean(R) = mean(C), whichever of the two is whole is
taken, and no third message is needed.

Cost: a few passes over weights and gradients. Memory: a number a row and a column, and up to 128 MiB during a step.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed, nn

from trainer.model.declaration import ParameterDeclaration
from trainer.optim.kinds import COLUMNS, FIRST_MOMENT, ROWS, SECOND_MOMENT, kinds_of
from trainer.optim.messages import in_messages
from trainer.optim.whole_parameters import Held, WholeParameterOptimizer
from trainer.parallel.tensor_group import TensorGroup
from trainer.settings import AdafactorSettings


class Adafactor(WholeParameterOptimizer):
    """One process's part of Adafactor."""

    def __init__(
        self,
        named_parameters: Mapping[str, nn.Parameter],
        declarations: Sequence[ParameterDeclaration],
        settings: AdafactorSettings,
        *,
        tensor: TensorGroup,
        data: distributed.ProcessGroup | None,
        shard: bool,
    ) -> None:
        """See `WholeParameterOptimizer`."""
        self.settings = settings
        super().__init__(named_parameters, declarations, settings, tensor=tensor, data=data, shard=shard)

    def own_kinds(self, declaration: ParameterDeclaration) -> tuple[str, ...]:
        """See `WholeParameterOptimizer`."""
        return kinds_of(declaration, self.settings)

    def update(self, owned: Sequence[Held]) -> None:
        """See `WholeParameterOptimizer`."""
        for some in in_messages(owned, [held.parameter.numel() for held in owned]):
            parts = [part for held in some for part in self._parts(held)]
            for part in parts:
                part.measure(self.settings)
            self._sum([sums for part in parts for sums in part.to_sum])
            decay = float(self.steps) ** -self.settings.second_moment_exponent
            for part in parts:
                part.remember(decay)
                part.precondition()
            self._sum([part.squared_update for part in parts if part.is_cut])
            for held in some:
                held.decay()
            for part in parts:
                part.apply(self.settings)

    def _parts(self, held: Held) -> list["_Part"]:
        declaration, partition = held.declaration, held.declaration.partition
        cut = partition.dimension if partition is not None and self.tensor.size > 1 else None
        dimension = 0 if partition is None else partition.dimension
        sizes = declaration.shape[:1] if partition is None else partition.parts
        state = self.state[held.parameter]
        parts = []
        for number, (_, place) in enumerate(declaration.slices(self.tensor.rank, self.tensor.size)):
            at = [slice(None)] * held.parameter.dim()
            at[dimension] = place
            shape = list(declaration.shape)
            shape[dimension] = sizes[number]
            parts.append(
                _Part(
                    held,
                    cut,
                    tuple(shape),
                    weight=held.parameter[tuple(at)],
                    gradient=held.gradient[tuple(at)],
                    rows=state[ROWS][at[0]] if ROWS in state else None,
                    columns=state[COLUMNS][number, at[1]] if COLUMNS in state else None,
                    variance=state[SECOND_MOMENT][at[0]] if SECOND_MOMENT in state else None,
                    momentum=state[FIRST_MOMENT][tuple(at)] if FIRST_MOMENT in state else None,
                )
            )
        return parts

    def _sum(self, values: Sequence[Tensor]) -> None:
        """Sum over the tensor group, in one message and in place."""
        if self.tensor.size == 1 or not values:
            return
        flat = torch.cat([value.reshape(-1) for value in values])
        distributed.all_reduce(flat, group=self.tensor.group)
        for value, summed in zip(values, torch.split(flat, [value.numel() for value in values]), strict=True):
            value.copy_(summed.view(value.shape))


@dataclass(eq=False)
class _Part:
    """One matrix or vector on its way through a step; tensors are this process's part of it, views of live ones."""

    held: Held
    cut: int | None
    """The dimension that the tensor group shares out."""
    shape: tuple[int, ...]
    """Full shape."""
    weight: Tensor
    gradient: Tensor
    rows: Tensor | None
    columns: Tensor | None
    variance: Tensor | None
    momentum: Tensor | None
    to_sum: list[Tensor] = field(default_factory=list)
    """What the tensor group must add up before `remember`."""

    @property
    def is_cut(self) -> bool:
        """Whether other processes have more of it."""
        return self.cut is not None

    def measure(self, settings: AdafactorSettings) -> None:
        """The mean squares of the gradient, as far as this process knows them."""
        squares = self.gradient.square().add_(settings.eps)
        self._update = squares
        if self.rows is not None:
            self._row_means = squares.sum(1).div_(self.shape[1])
            self._column_means = squares.sum(0).div_(self.shape[0])
            if self.cut is not None:
                self.to_sum.append(self._column_means if self.cut == 0 else self._row_means)
        if settings.relative_step:
            self._squared_weight = self.weight.square().sum()
            if self.is_cut:
                self.to_sum.append(self._squared_weight)

    def remember(self, decay: float) -> None:
        """Move the second moments towards the mean squares."""
        if self.rows is not None and self.columns is not None:
            self.rows.lerp_(self._row_means, decay)
            self.columns.lerp_(self._column_means, decay)
        elif self.variance is not None:
            self.variance.lerp_(self._update, decay)

    def precondition(self) -> None:
        """The gradient over the root of its second moment."""
        if self.rows is not None and self.columns is not None:
            mean = self.columns.mean() if self.cut == 0 else self.rows.mean()
            # Two factors, since the product of two tiny moments would be zero.
            torch.mul(self.gradient, (self.rows / mean).rsqrt_().unsqueeze(1), out=self._update)
            self._update.mul_(self.columns.rsqrt())
        elif self.variance is not None:
            torch.mul(self.gradient, self.variance.rsqrt(), out=self._update)
        self.squared_update = self._update.square().sum()

    def apply(self, settings: AdafactorSettings) -> None:
        """Clip the update and follow it."""
        size = math.prod(self.shape)
        clip = (self.squared_update / size).sqrt_().div_(settings.update_clipping).clamp_(min=1.0)
        self._update.div_(clip)
        if self.momentum is not None and settings.beta1 is not None:
            self.momentum.lerp_(self._update, 1.0 - settings.beta1)
            self._update.copy_(self.momentum)
        if settings.relative_step:
            self._update.mul_((self._squared_weight / size).sqrt_().clamp_(min=settings.smallest_scale))
        self.weight.sub_(self._update, alpha=self.held.group["lr"])
