"""The model under DeepSpeed: gradients of a global batch, optimizer steps, sharded state.

With trainer/parallel/pipeline.py the only importer of deepspeed. What it promises, whatever the micro-batches,
accumulation, copies, tensor-parallel parts, stages and ZeRO stage: the gradient is that of (sum of the losses of all
valid tokens of the global batch) / (their number), and a step follows it clipped by its norm over all parameters.
DeepSpeed averages over copies, so each loss is multiplied by their number first; it is told of one backward pass a
step, since a mean of means is wrong when masks are ragged. The norm, the clipping and the loss scale are ours
(`trainer.parallel.gradient`): DeepSpeed's are right in some layouts only.

A step is in two parts, so that what is known of the gradient can decide whether it is taken: `compute_gradient`, then
`step` or `skip`. Precision: fp32 weights and gradients under autocast (see `trainer.precision`).
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainer.data.batch import Batch
from trainer.deepspeed_config import deepspeed_config, deepspeed_stage
from trainer.model.declaration import ParameterDeclaration, declare_parameters, parameter_count
from trainer.model.gpt import GPT
from trainer.optim.build import build_optimizer
from trainer.optim.kinds import state_declaration
from trainer.optim.loss_scale import LossScale, LossScaleState
from trainer.optim.state import make_state, set_steps
from trainer.optim.whole_parameters import WholeParameterOptimizer
from trainer.parallel.gradient import Gathering, Norms
from trainer.parallel.groups import ModelParallelUnit, make_groups
from trainer.parallel.layout import Layout
from trainer.parallel.pipeline import Pipeline
from trainer.parallel.shards import FlatShards, PartitionedShards, Shards, WholeShards
from trainer.parallel.stages import balance, counted_costs
from trainer.parallel.timing import measured_costs
from trainer.parallel.whole_model import WholeModel
from trainer.precision import Precision
from trainer.ranks import Ranks
from trainer.settings import ModelShape, TrainingSettings
from trainer.state import WEIGHT, StatePiece

InitialWeights = Callable[[ParameterDeclaration], Tensor]
"""The full fp32 tensor that a parameter starts with."""


class Execution(Protocol):
    """How forward and backward passes go through the layers: on one process, or through the stages of a pipeline."""

    named: dict[str, nn.Parameter]
    """Canonical name -> this process's part; copies of tied weights left out."""
    stage_of: dict[str, int]
    """Canonical name -> the stage that has it, of all parameters."""

    @property
    def module(self) -> nn.Module:
        """What DeepSpeed is given."""

    def start(self, deepspeed: Any) -> None:
        """Work through this DeepSpeed engine from now on."""

    def backward(self, batches: Sequence[Batch], factor: float) -> float:
        """Gradients of `factor` x the losses of this copy's micro-batches, reduced over copies; the losses' sum on the
        process that counts, else 0."""

    def take_step(self) -> None:
        """What DeepSpeed does at the end of a step: follow the gradient or drop it, by the verdict."""

    def clear_copies(self) -> None:
        """Drop the gradients of copies of tied weights."""

    def measure(self, batch: Batch) -> Tensor:
        """[B, T] losses."""

    def copy_tied_weights(self) -> None:
        """Make copies of tied weights what their owner has."""


class TrainingEngine:
    """One process's share of the training."""

    def __init__(
        self,
        shape: ModelShape,
        weights: InitialWeights,
        settings: TrainingSettings,
        layout: Layout,
        precision: Precision,
        ranks: Ranks,
    ) -> None:
        """Every process must make it together with the others. `weights` is asked for each parameter in turn."""
        deepspeed = import_deepspeed(ranks.device.type)
        self.shape, self.layout, self.precision, self.ranks = shape, layout, precision, ranks
        self.optimizer_steps = 0
        """Steps that changed the weights."""
        self._clipping = settings.gradient_clipping
        # Gradients are sent to the host while the backward pass goes on, and read there.
        self._waits_for_copies = settings.offload_optimizer and ranks.device.type == "cuda"
        self._loss_scale = LossScale(settings.loss_scale) if precision == "fp16" else None
        self._norms_of_gradient: dict[str, float] | None = None
        self._declarations = {item.name: item for item in declare_parameters(shape)}
        deepspeed.init_distributed(dist_init_required=False)
        self._groups = make_groups(layout, ranks.rank)
        parts = (shape, weights, settings, precision, self._groups, ranks.device)
        self._execution: Execution
        if layout.pipeline > 1:
            self._execution = Pipeline(*parts, self._bounds(settings))
        else:
            self._execution = WholeModel(*parts)
        declarations = list(self._declarations.values())
        self._norms = Norms(declarations, self._groups, ranks.device)
        self._gathering = Gathering(declarations, self._groups, ranks.device, self._execution.stage_of)
        self._stage = deepspeed_stage(settings, layout)
        self.config = deepspeed_config(settings, layout, parameter_count(shape), ranks.device.type)
        """DeepSpeed's configuration."""
        self._optimizer = build_optimizer(
            self._execution.named,
            declarations,
            settings.optimizer,
            tensor=self._groups.tensor_group,
            data=self._groups.data,
            shard=layout.zero > 0,
        )
        with _quiet_logging():  # it would warn of an optimizer that is not of its list
            self.deepspeed, *_ = deepspeed.initialize(
                model=self._execution.module,
                optimizer=self._optimizer,
                config=self.config,
                mpu=ModelParallelUnit(self._groups) if layout.pipeline == 1 else None,
            )
        self._execution.start(self.deepspeed)
        self._is_taken = True
        self._shards = self._find_shards()

    @property
    def model(self) -> GPT:
        """The model itself, of a layout without a pipeline; where weights are sharded or shared (ZeRO-3, tensor
        parallelism) every process must take part in its use."""
        assert isinstance(self._execution, WholeModel)
        return self._execution.model

    def compute_gradient(self, batches: Sequence[Batch], valid_tokens: int) -> float:
        """Forward and backward of this copy's micro-batches; the sums of their losses (nats) add up over all processes.

        `valid_tokens` counts the valid targets of the whole global batch, over all copies.
        """
        self._norms_of_gradient = None
        scale = 1.0 if self._loss_scale is None else self._loss_scale.scale
        loss = self._execution.backward(batches, scale * self.layout.data / valid_tokens)
        if self._waits_for_copies:
            torch.cuda.synchronize(self.ranks.device)
        return loss

    def gradient_norm(self) -> float:
        """Of the whole gradient, before clipping, the same on all processes; inf or nan when it is not finite.

        Every process must call it, after `compute_gradient`.
        """
        return math.sqrt(sum(norm * norm for norm in self.gradient_norms().values()))

    def gradient_norms(self) -> dict[str, float]:
        """The same of each parameter, by canonical name."""
        if self._norms_of_gradient is None:
            scale = 1.0 if self._loss_scale is None else self._loss_scale.scale
            norms = self._norms.of(self._shards.gradients(), divided=self._shards.is_divided)
            self._norms_of_gradient = {name: norm / scale for name, norm in norms.items()}
        return self._norms_of_gradient

    def step(self, learning_rate: float) -> None:
        """Clip the gradient, follow it, and clear it; every process must call it.

        Raises ValueError when the gradient is not finite: skip it.
        """
        norm = self.gradient_norm()
        if not math.isfinite(norm):
            raise ValueError(f"the gradient's norm is {norm}: it can be skipped, not followed")
        factor = min(1.0, self._clipping / (norm + 1e-6)) if self._clipping else 1.0
        if self._loss_scale is not None:
            factor /= self._loss_scale.scale
        if factor != 1.0:
            torch._foreach_mul_([fragment.values for fragment in self._shards.gradients()], factor)
        for group in self.deepspeed.optimizer.param_groups:
            group["lr"] = learning_rate
        self._is_taken = True
        self._execution.take_step()
        self._execution.copy_tied_weights()
        self._norms_of_gradient = None
        self.optimizer_steps += 1
        if self._loss_scale is not None:
            self._loss_scale.stayed_finite()

    def skip(self) -> None:
        """Throw the gradient away: no weight, moment or step count changes. Every process must call it."""
        if self._loss_scale is not None and not math.isfinite(self.gradient_norm()):
            self._loss_scale.overflowed()
        if self._stage == 0:
            self.deepspeed.zero_grad()
            self._execution.clear_copies()
        else:
            self._is_taken = False
            with _quiet_logging():  # it would warn of an overflow
                self._execution.take_step()
        self._norms_of_gradient = None

    def measure(self, batch: Batch) -> Tensor:
        """[B, T] fp32 losses on the CPU (nats; 0 where a target does not count), without dropout and z-loss; the same
        on all processes of a copy, which must all call it (with ZeRO-3 all processes)."""
        return self._execution.measure(batch)

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Canonical name and full fp32 CPU tensor of every parameter; every process must exhaust it."""
        if self._stage == 3:
            return self._gathering.of_fragments(self._shards.weights(), divided=True)
        return self._gathering.of_parameters(self._execution.named)

    def gradients(self) -> Iterator[tuple[str, Tensor]]:
        """The full gradient of every parameter, as it was computed: times the loss scale, not clipped; between
        `compute_gradient` and `step`. Every process must exhaust it."""
        return self._gathering.of_fragments(self._shards.gradients(), divided=self._shards.is_divided)

    def local_parameters(self) -> dict[str, nn.Parameter]:
        """Canonical name -> this process's part of the parameters that it owns; with ZeRO-3 they are empty."""
        return self._execution.named

    def state_pieces(self, for_saving: bool) -> list[StatePiece]:
        """The live state of the run as this process holds it.

        `for_saving`: over all processes every value exactly once; else everything that this process holds, to be
        filled at a load, which `finish_loading` ends.
        """
        return [
            self._piece(kind, fragment)
            for kind, fragment in self._state_fragments()
            if not for_saving or self._saves(kind, fragment.name)
        ]

    def finish_loading(self, optimizer_steps: int) -> None:
        """Take up what was written into the pieces; every process must call it."""
        set_steps(self._optimizer, optimizer_steps)
        self._shards.spread_weights()
        self._execution.copy_tied_weights()
        self.optimizer_steps = optimizer_steps

    def scaler_state(self) -> LossScaleState | None:
        """The loss scale's state for a checkpoint; None without fp16."""
        return None if self._loss_scale is None else self._loss_scale.state()

    def load_scaler_state(self, state: LossScaleState | None) -> None:
        """Go on with the loss scale of a checkpoint; one of another precision is passed over."""
        if self._loss_scale is not None and state is not None:
            self._loss_scale.load(state)

    @property
    def can_lower_loss_scale(self) -> bool:
        """Whether a gradient that is not finite may be the loss scale's fault: the next step has a lower one."""
        return self._loss_scale is not None and not self._loss_scale.is_smallest

    def close(self) -> None:
        """Release DeepSpeed's hooks and buffers, and the process groups."""
        self.deepspeed.destroy()
        self._groups.close()

    def _bounds(self, settings: TrainingSettings) -> list[int]:
        """Which layers each stage has; the same on all processes."""
        costs = counted_costs(self.shape)
        if settings.parallel.balance == "measured":
            rows = self.layout.micro_batch_size
            measured = (
                measured_costs(self.shape, rows, self.precision, self.ranks.device) if self.ranks.is_first else costs
            )
            costs = self.ranks.from_first(measured)
        return balance(costs, self.layout.pipeline)

    def _find_shards(self) -> Shards:
        named, optimizer = self._execution.named, self.deepspeed.optimizer
        if self._stage == 0:
            make_state(self._optimizer)
            return WholeShards(named, self._optimizer)
        if self._stage == 3:
            return PartitionedShards(named, optimizer, self._groups.place.data, self._verdict)
        return FlatShards(named, optimizer, self._verdict)

    def _verdict(self) -> Tensor:
        """Stands in for DeepSpeed's norm of the gradient: below zero makes its step throw the gradient away."""
        return torch.tensor(1.0 if self._is_taken else -1.0)

    def _state_fragments(self) -> Iterator[tuple[str, Any]]:
        for fragment in self._shards.weights():
            yield WEIGHT, fragment
        yield from self._shards.moments()

    def _piece(self, kind: str, fragment: Any) -> StatePiece:
        declaration = self._stored(kind, fragment.name)
        is_cut = declaration.partition is not None
        size = self.layout.tensor if is_cut else 1
        rank = self._groups.place.tensor if is_cut else 0
        shape = declaration.local_shape(size)
        return StatePiece(fragment.name, kind, shape, rank, size, fragment.start, fragment.values)

    def _stored(self, kind: str, name: str) -> ParameterDeclaration:
        """Of one kind of value of a parameter."""
        declaration = self._declarations[name]
        return declaration if kind == WEIGHT else state_declaration(declaration, kind)

    def _saves(self, kind: str, name: str) -> bool:
        """Whether this process is the one to save a parameter's fragment; those who hold the same take turns."""
        number = list(self._declarations).index(name)
        place, layout = self._groups.place, self.layout
        if self._stored(kind, name).partition is None and number % layout.tensor != place.tensor:
            return False
        if kind != WEIGHT and isinstance(self._optimizer, WholeParameterOptimizer) and self._optimizer.is_shared_out:
            return True  # Only the owner has it.
        return self._shards.is_divided or number // layout.tensor % layout.data == place.data


def import_deepspeed(device_type: str) -> Any:
    """DeepSpeed, quiet, and without its compilations at first use."""
    with _quiet_logging(), _without_compiler():
        import deepspeed
        import deepspeed.ops
        import deepspeed.runtime.zero.muon.muon_optimizer  # imported by its ZeRO; decorates with torch.compile
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    if device_type == "cpu":
        # Its shared-memory collectives are compiled when distributed work starts (minutes on two cores, and a lock
        # that hangs later runs when killed). With no operator marked as compatible it uses plain gloo.
        deepspeed.ops.__compatible_ops__ = {}
    return deepspeed


@contextmanager
def _without_compiler() -> Iterator[None]:
    """`torch.compile` as a decorator loads the whole compiler at import: 1.3 CPU-seconds a process (by hand)."""
    compiler = torch.compile
    torch.compile = lambda function=None, **_: function if function is not None else lambda later: later  # type: ignore
    try:
        yield
    finally:
        torch.compile = compiler


@contextmanager
def _quiet_logging() -> Iterator[None]:
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
