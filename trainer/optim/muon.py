"""Muon (Jordan et al. 2024): a step along the momentum of a matrix with all singular values made about equal.

Within blocks, where each matrix maps activations to activations, a step's size is best measured by what it does to any
activation; there all directions get the same. Steps are scaled by 0.2 sqrt(max(rows, columns)), so that their root mean
square is that of AdamW's (Liu et al. 2025, Moonlight, eq. 4), and one learning rate and weight decay suit both. What is
no map between activations, embeddings and the output layer, norms and biases, is left to AdamW.

Under tensor parallelism a matrix must be whole to be made orthogonal. The matrices are shared out among the tensor
group too: each process gets the parts of its matrices from all others, works, and sends the parts of the result back:
two messages for each 32 M weights, and no matrix is worked on twice.

Cost: see `orthogonalize`; over a step's arithmetic about 5 x width / tokens of the batch (Jordan: under 1 % at usual
sizes). Memory: one value a matrix entry, where AdamW has two.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, distributed, nn

from trainer.model.declaration import ParameterDeclaration
from trainer.optim.adam_state import make_adam_state, set_adam_steps
from trainer.optim.eager import AdamW
from trainer.optim.kinds import FIRST_MOMENT, MOMENTUM, SECOND_MOMENT, is_orthogonalized, kinds_of
from trainer.optim.messages import in_messages
from trainer.optim.orthogonal import orthogonalize
from trainer.optim.ownership import owners_of
from trainer.optim.whole_parameters import Held, WholeParameterOptimizer
from trainer.parallel.tensor_group import TensorGroup
from trainer.settings import MuonSettings

UPDATE_SIZE = 0.2
"""Root mean square of AdamW's updates, as Moonlight measured it."""


class Muon(WholeParameterOptimizer):
    """One process's part of Muon, with AdamW for what is not a matrix within a block."""

    def __init__(
        self,
        named_parameters: Mapping[str, nn.Parameter],
        declarations: Sequence[ParameterDeclaration],
        settings: MuonSettings,
        *,
        tensor: TensorGroup,
        data: distributed.ProcessGroup | None,
        shard: bool,
    ) -> None:
        """See `WholeParameterOptimizer`."""
        self.settings = settings
        super().__init__(named_parameters, declarations, settings, tensor=tensor, data=data, shard=shard)
        others = [held for held in self.owned if not is_orthogonalized(held.declaration)]
        self._adamw: AdamW | None = None
        if others:
            given: list[dict[str, Any]] = []
            for group in self.param_groups:
                if parameters := [held.parameter for held in others if held.group is group]:
                    given.append({"params": parameters, "weight_decay": group["weight_decay"], "followed": group})
            adamw = settings.adamw
            self._adamw = AdamW(given, lr=settings.lr, betas=adamw.betas, eps=adamw.eps, fused=True)
            make_adam_state(self._adamw, [held.parameter for held in others])

    def own_kinds(self, declaration: ParameterDeclaration) -> tuple[str, ...]:
        """See `WholeParameterOptimizer`; AdamW keeps the others."""
        return kinds_of(declaration, self.settings) if is_orthogonalized(declaration) else ()

    def state_kinds(self, parameter: Tensor) -> dict[str, Tensor]:
        """See `WholeParameterOptimizer`."""
        if self._adamw is not None and parameter in self._adamw.state:
            state = self._adamw.state[parameter]
            return {kind: state[kind] for kind in (FIRST_MOMENT, SECOND_MOMENT)}
        return super().state_kinds(parameter)

    def set_steps(self, steps: int) -> None:
        """See `WholeParameterOptimizer`."""
        super().set_steps(steps)
        if self._adamw is not None:
            set_adam_steps(self._adamw, steps)

    def update(self, owned: Sequence[Held]) -> None:
        """See `WholeParameterOptimizer`."""
        if self._adamw is not None:
            factor = (self.settings.adamw.lr or self.settings.lr) / self.settings.lr
            for group in self._adamw.param_groups:
                group["lr"] = group["followed"]["lr"] * factor
            self._adamw.step()
        matrices = [held for held in owned if is_orthogonalized(held.declaration)]
        whole = [held for held in matrices if self.tensor.size == 1 or held.declaration.partition is None]
        for held in whole:
            self._follow(held, self._orthogonal(held.declaration, self._direction(held)))
        cut = [held for held in matrices if held not in whole]
        for some in in_messages(cut, [held.parameter.numel() for held in cut]):
            for held, direction in zip(some, self._orthogonal_of_cut(some), strict=True):
                self._follow(held, direction)

    def _direction(self, held: Held) -> Tensor:
        """Where the momentum, which is moved on, points to."""
        gradient, settings = held.gradient, self.settings
        momentum: Tensor = self.state[held.parameter][MOMENTUM]
        momentum.lerp_(gradient, 1.0 - settings.momentum)
        return gradient.lerp(momentum, settings.momentum) if settings.nesterov else momentum

    def _orthogonal(self, declaration: ParameterDeclaration, direction: Tensor) -> Tensor:
        """Each matrix of a whole parameter made orthogonal and scaled to AdamW's size."""
        found = torch.empty_like(direction)
        for _, place in declaration.slices(0, 1):
            at = [slice(None), slice(None)]
            at[0 if declaration.partition is None else declaration.partition.dimension] = place
            part = direction[tuple(at)]
            scale = UPDATE_SIZE * math.sqrt(max(part.shape))
            precision = self._precision(part)
            found[tuple(at)] = orthogonalize(part, self.settings.newton_schulz_steps, precision).mul_(scale)
        return found

    def _orthogonal_of_cut(self, cut: Sequence[Held]) -> list[Tensor]:
        """The same of parameters that the tensor group shares: this process's part of each result."""
        size, here = self.tensor.size, self.tensor.rank
        workers = owners_of([held.declaration for held in cut], self.settings, size)
        by_worker = [[number for number, worker in enumerate(workers) if worker == rank] for rank in range(size)]
        order = [number for numbers in by_worker for number in numbers]
        values = [sum(cut[number].parameter.numel() for number in numbers) for numbers in by_worker]
        parts = torch.cat([self._direction(cut[number]).reshape(-1) for number in order])
        received = self._exchange(parts, values, [values[here]] * size)
        results: list[list[Tensor]] = [[] for _ in range(size)]
        at = 0
        for number in by_worker[here]:
            shape, count = cut[number].parameter.shape, cut[number].parameter.numel()
            pieces = [received[rank * values[here] + at :][:count].view(shape) for rank in range(size)]
            declaration = cut[number].declaration
            full = self._orthogonal(declaration, declaration.assemble(pieces))
            for rank in range(size):
                results[rank].append(declaration.local(full, rank, size).reshape(-1))
            at += count
        flat = [part for found in results for part in found]
        back = self._exchange(torch.cat(flat) if flat else parts[:0], [values[here]] * size, values)
        ends = list(accumulate(cut[number].parameter.numel() for number in order))
        found = {
            number: back[end - cut[number].parameter.numel() : end].view(cut[number].parameter.shape)
            for number, end in zip(order, ends, strict=True)
        }
        return [found[number] for number in range(len(cut))]

    def _exchange(self, sent: Tensor, to: list[int], from_each: list[int]) -> Tensor:
        """Send `to[rank]` consecutive values to each process of the tensor group and receive `from_each[rank]`."""
        received = sent.new_empty(sum(from_each))
        distributed.all_to_all_single(received, sent, from_each, to, group=self.tensor.group)
        return received

    def _precision(self, matrix: Tensor) -> torch.dtype:
        chosen = self.settings.newton_schulz_precision
        if chosen == "auto":
            chosen = "bf16" if matrix.device.type == "cuda" else "fp32"
        return torch.bfloat16 if chosen == "bf16" else torch.float32

    def _follow(self, held: Held, direction: Tensor) -> None:
        held.decay()
        held.parameter.add_(direction, alpha=-held.group["lr"])
