"""What DeepSpeed holds of each parameter on this process, whatever the ZeRO stage: fragments of its local part.

A fragment is a run of consecutive values of a flattened local parameter, as a view of live memory. Stage 0 has one
fragment a parameter, the whole; stages 1 and 2 cut the concatenation of all parameters of a group into equal shares;
stage 3 cuts each parameter. The engine reads and changes gradients, weights and moments through fragments alone, so
the gradient's norm, clipping and the state for checkpoints are written once for all stages.

This module knows the attributes of DeepSpeed's optimizers that hold these, all of them named in
tests/trainer/test_deepspeed_contract.py, but does not import DeepSpeed. Nothing is copied.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainer.optim.adam_state import make_adam_state
from trainer.optim.state import state_kinds

Verdict = Callable[[], Tensor]
"""1 when the step is to be taken, -1 when the gradient is to be thrown away: DeepSpeed's mark of a bad norm."""


@dataclass(frozen=True)
class Fragment:
    """Consecutive values that belong to a parameter."""

    name: str
    """Canonical name of the parameter."""
    start: int
    """Number of the first within the flattened local parameter."""
    values: Tensor
    """1-D, fp32: a view."""


class Shards(Protocol):
    """The fragments of one process."""

    is_divided: bool
    """Whether the copies of a parameter hold disjoint fragments that make it up; else each holds all of it."""

    def gradients(self) -> list[Fragment]:
        """Of the gradient, after the backward pass and before the step."""

    def weights(self) -> Iterator[Fragment]:
        """Of the fp32 weights that the optimizer changes."""

    def moments(self) -> Iterator[tuple[str, Fragment]]:
        """(kind, fragment) of what the optimizer remembers, of the shape of the weights."""

    def spread_weights(self) -> None:
        """Make the model's weights what `weights` says; every process must call it."""


class WholeShards:
    """ZeRO 0: the parameters themselves."""

    is_divided = False

    def __init__(self, named: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        self._named, self._optimizer = named, optimizer

    def gradients(self) -> list[Fragment]:
        """See `Shards`."""
        return [
            Fragment(name, 0, parameter.grad.view(-1))
            for name, parameter in self._named.items()
            if parameter.grad is not None
        ]

    def weights(self) -> Iterator[Fragment]:
        """See `Shards`."""
        for name, parameter in self._named.items():
            yield Fragment(name, 0, parameter.detach().view(-1))

    def moments(self) -> Iterator[tuple[str, Fragment]]:
        """See `Shards`."""
        for name, parameter in self._named.items():
            for kind, values in state_kinds(self._optimizer, parameter).items():
                yield kind, Fragment(name, 0, values.view(-1))

    def spread_weights(self) -> None:
        """See `Shards`: nothing to do."""


class FlatShards:
    """ZeRO 1 and 2: a share of the flattened parameters of each group of the optimizer."""

    is_divided = True

    def __init__(self, named: Mapping[str, Any], zero_optimizer: Any, verdict: Verdict) -> None:
        self._held = {name: parameter for name, parameter in named.items() if parameter._hp_mapping is not None}
        self._zero = zero_optimizer
        zero_optimizer.scaled_global_norm = verdict
        make_adam_state(zero_optimizer.optimizer, zero_optimizer.single_partition_of_fp32_groups)

    def gradients(self) -> list[Fragment]:
        """See `Shards`."""
        found = []
        for name, parameter in self._held.items():
            mapping = parameter._hp_mapping
            gradient = mapping.get_lp_grad_fragment(parameter._index_in_param_group)
            found.append(Fragment(name, mapping.lp_fragment_address.start, gradient.view(-1)))
        return found

    def weights(self) -> Iterator[Fragment]:
        """See `Shards`."""
        for name, parameter in self._held.items():
            mapping = parameter._hp_mapping
            yield Fragment(name, mapping.lp_fragment_address.start, mapping.hp_fragment.detach())

    def moments(self) -> Iterator[tuple[str, Fragment]]:
        """See `Shards`."""
        for name, parameter in self._held.items():
            mapping = parameter._hp_mapping
            flat = self._zero.single_partition_of_fp32_groups[mapping.param_group_index]
            place = mapping.hp_fragment_address
            for kind, values in state_kinds(self._zero.optimizer, flat).items():
                yield (
                    kind,
                    Fragment(name, mapping.lp_fragment_address.start, values.narrow(0, place.start, place.numel)),
                )

    def spread_weights(self) -> None:
        """See `Shards`."""
        self._zero.update_lp_params()


class PartitionedShards:
    """ZeRO 3: a share of each parameter."""

    is_divided = True

    def __init__(
        self, named: Mapping[str, nn.Parameter], zero_optimizer: Any, data_rank: int, verdict: Verdict
    ) -> None:
        self._zero = zero_optimizer
        self._places = dict(self._find_places(named, data_rank))
        zero_optimizer._get_norm_groups = lambda: [verdict()]
        make_adam_state(zero_optimizer.optimizer, zero_optimizer.fp32_partitioned_groups_flat)

    def gradients(self) -> list[Fragment]:
        """See `Shards`."""
        partitions = self._zero.get_fp32_grad_partitions()
        return [
            Fragment(name, place.start, partitions[place.group][place.index].view(-1)[: place.count])
            for name, place in self._places.items()
        ]

    def weights(self) -> Iterator[Fragment]:
        """See `Shards`."""
        for name, place in self._places.items():
            flat = self._zero.fp32_partitioned_groups_flat[place.group].detach()
            yield Fragment(name, place.start, flat.narrow(0, place.offset, place.count))

    def moments(self) -> Iterator[tuple[str, Fragment]]:
        """See `Shards`."""
        for name, place in self._places.items():
            flat = self._zero.fp32_partitioned_groups_flat[place.group]
            for kind, values in state_kinds(self._zero.optimizer, flat).items():
                yield kind, Fragment(name, place.start, values.narrow(0, place.offset, place.count))

    @torch.no_grad()
    def spread_weights(self) -> None:
        """See `Shards`."""
        self._zero._partition_all_parameters()
        for group in range(len(self._zero.fp16_groups)):
            self._zero._reassign_or_swap_out_partitioned_parameters(group)
        if self._zero.persistent_parameters:
            self._zero.persistent_parameters[0].all_gather(self._zero.persistent_parameters)

    def _find_places(self, named: Mapping[str, Any], data_rank: int) -> Iterator[tuple[str, "_Place"]]:
        indices = {id(parameter): index for group in self._zero.fp16_groups for index, parameter in enumerate(group)}
        for name, parameter in named.items():
            group, offset, share = self._zero.grad_position[self._zero.get_param_id(parameter)]
            start = min(data_rank * share, parameter.ds_numel)
            count = min(share, parameter.ds_numel - start)  # the last shares may be padding, in part or whole
            if count:
                yield name, _Place(group, indices[id(parameter)], offset, start, count)


@dataclass(frozen=True)
class _Place:
    """Where a parameter's share lies in ZeRO 3's flat tensors."""

    group: int
    index: int
    offset: int
    start: int
    count: int
