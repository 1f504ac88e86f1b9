"""Forward and backward passes through the stages of a pipeline: DeepSpeed's PipelineModule and its engine.

With trainer/engine.py the only importer of deepspeed. The layers are the embedding, each block and the head, shared out
by `trainer.parallel.stages`; micro-batches go through them by DeepSpeed's 1F1B schedule (Narayanan et al. 2021,
PipeDream-Flush), of which the optimizer's step is left out, so that the gradient can be judged first.

Decisions. The loss is computed inside the last layer, from the logits of targets that count only; targets do not
travel: every process of a copy has the same micro-batches, and the last layer is told of each one as it is loaded,
which comes right before its forward pass. What flows from stage to stage is (x, *RowContext.tensors()).

With tied embeddings the last stage has a copy of the matrix. The gradients of both are added up as DeepSpeed does;
but the copy belongs to no optimizer: the owner's weights are sent to it after each step. So the two are equal bit for
bit, whatever the order of sums, and no moments are kept twice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from trainer.data.batch import Batch
from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.model.gpt import Block, Embedding, Head, run_block
from trainer.model.rows import RowContext
from trainer.parallel.groups import ProcessGroups
from trainer.parallel.tensor_group import TensorGroup
from trainer.parallel.vocabulary import token_losses
from trainer.parallel.whole_model import spread, to_device
from trainer.precision import Precision, autocast
from trainer.settings import ModelShape, TrainingSettings

TIED = "token_embedding"
Flow = tuple[Tensor, ...]
"""(x [B, T, D], or tokens [B, T] before the embedding, *RowContext.tensors())."""


class Pipeline:
    """The execution of a layout with a pipeline; see `trainer.engine.Execution`."""

    def __init__(
        self,
        shape: ModelShape,
        weights: Callable[[ParameterDeclaration], Tensor],
        settings: TrainingSettings,
        precision: Precision,
        groups: ProcessGroups,
        device: torch.device,
        bounds: Sequence[int],
    ) -> None:
        """`bounds` as `stages.balance` gives them, over embedding, blocks and head."""
        self._groups, self._device, self._stages = groups, device, groups.layout.pipeline
        self._run = _Run(precision, device.type, settings.z_loss, settings.activation_checkpointing == "blocks")
        self.module = _build_module(shape, groups, self._run, bounds)
        layers = [layer for layer in self.module.modules() if isinstance(layer, _Layer)]
        if settings.compile:
            for layer in layers:
                if isinstance(layer, _BlockLayer):
                    layer.part.compile()
        found = {name: parameter for layer in layers for name, parameter in layer.canonical().items()}
        declarations = declare_parameters(shape)
        self.stage_of = {item.name: _stage_of(_layer_of(item, shape), bounds) for item in declarations}
        self._copies: dict[str, nn.Parameter] = {}
        self.named: dict[str, nn.Parameter] = {}
        tensor = groups.tensor_group
        for item in declarations:
            if item.name not in found:
                continue
            parameter = found[item.name]
            parameter.data.copy_(item.local(weights(item), tensor.rank, tensor.size))
            owned = self.stage_of[item.name] == groups.place.pipeline
            (self.named if owned else self._copies)[item.name] = parameter
        self._counts = groups.layout.is_counted(distributed.get_rank())
        self._deepspeed: Any = None
        self._shape_of_flow: object = None

    def start(self, deepspeed: Any) -> None:
        """See `Execution`."""
        self._deepspeed = deepspeed
        deepspeed._compute_loss = True

    def backward(self, batches: Sequence[Batch], factor: float) -> float:
        """See `Execution`."""
        self._run.factor, self._run.measured = factor, False
        self._run.total = torch.zeros((), dtype=torch.float64, device=self._device)
        self.module.train()
        self._execute(_gradient_schedule(len(batches), self._stages, self._groups.place.pipeline), batches)
        return self._run.total.item() if self._counts else 0.0

    def take_step(self) -> None:
        """See `Execution`."""
        self._deepspeed._exec_optimizer_step()
        self.clear_copies()

    def clear_copies(self) -> None:
        """Throw the gradients of copies away: no optimizer does."""
        for parameter in self._copies.values():
            parameter.grad = None

    @torch.no_grad()
    def measure(self, batch: Batch) -> Tensor:
        """See `Execution`."""
        from deepspeed.runtime.pipe.schedule import InferenceSchedule

        self._run.measured = True
        self.module.eval()
        place = self._groups.place
        self._execute(InferenceSchedule(micro_batches=1, stages=self._stages, stage_id=place.pipeline), [batch])
        losses_BT = self._run.losses_BT
        if place.pipeline < self._stages - 1:
            losses_BT = torch.empty(batch.targets.shape, device=self._device)
        last = self._groups.layout.rank_of(place.data, self._stages - 1, place.tensor)
        distributed.broadcast(losses_BT, last, group=self._groups.pipeline)
        return losses_BT.cpu()

    @torch.no_grad()
    def copy_tied_weights(self) -> None:
        """See `Execution`."""
        self.module._synchronize_tied_weights()

    def _execute(self, schedule: Any, batches: Sequence[Batch]) -> None:
        # Without its own messages about shapes a stage expects what the last micro-batch had.
        shapes = {tuple(tensor.shape for tensor in _flow(batch)) for batch in batches}
        one = next(iter(shapes)) if len(shapes) == 1 else None
        self._deepspeed.dynamic_shape = one is None
        if one is None or one != self._shape_of_flow:
            self._deepspeed.reset_activation_shape()
        self._shape_of_flow = one
        self._deepspeed.total_loss = None
        self._deepspeed.set_dataiterator(self._load(batches))
        self._deepspeed._exec_schedule(schedule)

    def _load(self, batches: Sequence[Batch]) -> Iterator[tuple[Flow, tuple[Tensor, ...]]]:
        for batch in batches:
            self._run.batch = batch
            yield _flow(batch), ()


class _Run:
    """What the layers of this process are told beside what flows through them."""

    def __init__(self, precision: Precision, device_type: str, z_loss: float, checkpointed: bool) -> None:
        self.precision, self.device_type, self.z_loss, self.checkpointed = precision, device_type, z_loss, checkpointed
        self.batch: Batch | None = None
        """The micro-batch that was loaded last."""
        self.factor = 1.0
        """Of the loss whose gradient is computed."""
        self.measured = False
        """Whether single losses are asked for, and no gradient."""
        self.total = torch.zeros(())
        """Sum of the losses since the beginning of the step."""
        self.losses_BT = torch.zeros(())
        """Those of the micro-batch that was measured."""
        self._context: tuple[Flow, RowContext] = ((), RowContext())

    def autocast(self) -> torch.autocast:
        """Each layer enters it by itself: DeepSpeed leaves any that is entered outside of its forward."""
        return autocast(self.device_type, self.precision)

    def context_of(self, tensors: Flow) -> RowContext:
        """The same object for all layers of a stage and a micro-batch, so that masks are made once."""
        held, context = self._context
        if len(held) != len(tensors) or any(ours is not theirs for ours, theirs in zip(held, tensors, strict=True)):
            context = RowContext.from_tensors(tensors)
            self._context = (tensors, context)
        return context


class _Layer(nn.Module):
    """A part of the model as DeepSpeed's PipelineModule wants it: one argument, one result."""

    part: nn.Module
    prefix = ""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self.run = run

    def canonical(self) -> dict[str, nn.Parameter]:
        """Canonical name -> parameter."""
        return {self.prefix + name: parameter for name, parameter in self.part.named_parameters()}


class _EmbeddingLayer(_Layer):
    def __init__(self, shape: ModelShape, tensor: TensorGroup, run: _Run) -> None:
        super().__init__(run)
        self.part = Embedding(shape, tensor)

    def forward(self, flow: Flow) -> Flow:
        tokens_BT, *tensors = flow
        with self.run.autocast():
            x_BTD = self.part(tokens_BT, self.run.context_of(tuple(tensors)))
        return (x_BTD.contiguous(), *tensors)


class _BlockLayer(_Layer):
    def __init__(self, shape: ModelShape, index: int, tensor: TensorGroup, run: _Run) -> None:
        super().__init__(run)
        self.part = Block(shape, index, tensor)
        self.prefix = f"blocks.{index}."

    def forward(self, flow: Flow) -> Flow:
        x_BTD, *tensors = flow
        with self.run.autocast():
            x_BTD = run_block(self.part, x_BTD, self.run.context_of(tuple(tensors)), self.run.checkpointed)
        return (x_BTD.contiguous(), *tensors)


class _HeadLayer(_Layer):
    """Ends with the loss: times the factor, for the backward pass; or that of each target."""

    def __init__(self, shape: ModelShape, tensor: TensorGroup, run: _Run) -> None:
        super().__init__(run)
        self.part = Head(shape, tensor)
        self.shape, self.tensor = shape, tensor

    def forward(self, flow: Flow) -> Tensor:
        run, x_BTD = self.run, flow[0]
        assert run.batch is not None
        _, targets_BT, mask_BT, _ = to_device(run.batch, x_BTD.device)
        with run.autocast():
            logits = self.part(x_BTD, mask_BT)
            targets = targets_BT if mask_BT is None else targets_BT[mask_BT]
            z_loss = 0.0 if run.measured else run.z_loss
            losses = token_losses(logits, targets, self.shape.vocab_size, self.tensor, z_loss)
        if run.measured:
            run.losses_BT = spread(losses, mask_BT)
            return run.losses_BT
        loss = losses.sum()
        run.total += loss.detach()
        return loss * run.factor


def _build_module(shape: ModelShape, groups: ProcessGroups, run: _Run, bounds: Sequence[int]) -> Any:
    from deepspeed.pipe import LayerSpec, PipelineModule, TiedLayerSpec
    from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology

    class Stages(PipelineModule):  # type: ignore[misc]
        def _partition_layers(self, method: str = "") -> None:
            self.parts = list(bounds)
            stage = groups.place.pipeline
            self._set_bounds(start=bounds[stage], stop=bounds[stage + 1])

    layout, tensor = groups.layout, groups.tensor_group
    blocks = [LayerSpec(_BlockLayer, shape, index, tensor, run) for index in range(shape.layers)]
    if shape.tied_embeddings:
        attribute = "part.token_embedding.weight"
        ends = [
            TiedLayerSpec(TIED, kind, shape, tensor, run, tied_weight_attr=attribute)
            for kind in (_EmbeddingLayer, _HeadLayer)
        ]
    else:
        ends = [LayerSpec(kind, shape, tensor, run) for kind in (_EmbeddingLayer, _HeadLayer)]
    topology = PipeModelDataParallelTopology(layout.pipeline, layout.tensor, layout.data)
    # It prints its layers, and sends the tied weights as if their gradient were to flow back through the message.
    with redirect_stdout(StringIO()), torch.no_grad():
        return Stages([ends[0], *blocks, ends[1]], topology=topology)


def _gradient_schedule(micro_batches: int, stages: int, stage: int) -> Any:
    """1F1B without the optimizer's step."""
    from deepspeed.runtime.pipe.schedule import OptimizerStep, TrainSchedule

    class GradientSchedule(TrainSchedule):  # type: ignore[misc]
        def steps(self) -> Iterator[list[Any]]:
            for commands in super().steps():
                yield [command for command in commands if not isinstance(command, OptimizerStep)]

    return GradientSchedule(micro_batches=micro_batches, stages=stages, stage_id=stage)


def _flow(batch: Batch) -> Flow:
    cpu = torch.device("cpu")
    inputs_BT, _, _, context = to_device(batch, cpu)
    return (inputs_BT, *context.tensors())


def _layer_of(declaration: ParameterDeclaration, shape: ModelShape) -> int:
    """Number of the layer among embedding, blocks and head."""
    ends: Mapping[object, int] = {"embedding": 0, "head": shape.layers + 1}
    part = declaration.stage_of
    return 1 + part if isinstance(part, int) else ends[part]


def _stage_of(layer: int, bounds: Sequence[int]) -> int:
    return int(np.searchsorted(bounds, layer, side="right")) - 1
