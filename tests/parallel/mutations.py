"""The classic faults of parallel training, each planted into the running code of one process.

A fault is a name, the case that it is planted into, what must turn red, and the patches. A check that stays green with
any of them would prove nothing.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from torch import Tensor, distributed

import trainer.model.dropout
import trainer.model.gpt
import trainer.model.norms
import trainer.parallel.gradient
import trainer.parallel.linear
import trainer.parallel.pipeline
import trainer.parallel.vocabulary
from tests.parallel.cases import Case, layout_of
from trainer.data.batch import Batch
from trainer.model.partition import Partition
from trainer.parallel.collectives import start_sum
from trainer.parallel.gradient import Norms
from trainer.parallel.layout import Layout
from trainer.parallel.linear import RowParallelLinear
from trainer.parallel.pipeline import Pipeline
from trainer.parallel.random import split_random
from trainer.parallel.tensor_group import TensorGroup
from trainer.parallel.vocabulary import vocabulary_range, vocabulary_rows
from trainer.parallel.whole_model import ModelWithLoss, WholeModel

SHARED = Case("untied", layout_of(2, 2, 1, zero=0, parts=2))
SHARDED = Case("tied", layout_of(2, 2, 1, zero=1, parts=2))
SEQUENCE = Case("tied modern", layout_of(2, 2, 1, zero=1, parts=2, sequence=True))
POSITIONS = Case("tied", layout_of(2, 2, 1, zero=1, parts=2, sequence=True))
STAGES = Case("tied", layout_of(2, 1, 2, zero=1, parts=2))
STAGES_0 = Case("untied", layout_of(1, 2, 2, zero=0, parts=2))
DROPPING = Case("dropping", layout_of(2, 2, 1, zero=1))
HEALTHY = (SHARED, SHARDED, SEQUENCE, POSITIONS, STAGES, STAGES_0)

Patches = list[tuple[Any, str, Any]]
"""(object, attribute, what stands there instead)."""


@dataclass(frozen=True)
class Mutation:
    """A fault."""

    name: str
    case: Case
    red: tuple[str, ...]
    """Checks that must fail, of `cases.problems` or, for dropout, any of `dropout.problems_of_dropout`."""
    patches: Callable[[], Patches]
    """Made where they are applied: they wrap what stands there."""

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Within, the fault is there."""
        with ExitStack() as stack:
            for target, name, value in self.patches():
                if isinstance(target, dict):
                    stack.enter_context(patch.dict(target, {name: value}))
                else:
                    stack.enter_context(patch.object(target, name, value))
            yield


def _without_sum_in(function: str) -> Patches:

    def sum_or_not(x: Tensor, tensor: TensorGroup) -> Any:
        if sys._getframe(1).f_code.co_qualname == function:
            return lambda: x
        return start_sum(x, tensor)

    return [(trainer.parallel.linear, "start_sum", sum_or_not)]


def _the_same(x: Tensor, tensor: TensorGroup) -> Tensor:
    return x


def _unaveraged() -> Patches:
    from deepspeed.runtime.engine import DeepSpeedEngine

    return [(DeepSpeedEngine, "buffered_allreduce_fallback", lambda *_, **__: None)]


def _unaveraged_shards() -> Patches:
    from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer

    return [(DeepSpeedZeroOptimizer, "average_tensor", lambda *_, **__: None)]


def _tied_sums(times: int) -> Patches:
    from deepspeed.runtime.pipe.engine import PipelineEngine
    from deepspeed.runtime.pipe.schedule import ReduceTiedGrads

    def reduce(engine: Any) -> None:
        for _ in range(times):
            engine._exec_reduce_tied_grads()

    return [(PipelineEngine._INSTRUCTION_MAP, ReduceTiedGrads, reduce)]


def _mean_of_micro_batches() -> Patches:
    original = WholeModel.backward

    def backward(self: WholeModel, batches: Sequence[Batch], factor: float) -> float:
        return original(self, batches, factor / len(batches))

    return [(WholeModel, "backward", backward)]


def _mean_of_means() -> Patches:
    original = ModelWithLoss.forward

    def forward(self: ModelWithLoss, inputs: Tensor, targets: Tensor, mask: Any, context: Any, **more: Any) -> Tensor:
        result = original(self, inputs, targets, mask, context, **more)
        return result if more else result / max(1, int(mask.sum())) * 8

    return [(ModelWithLoss, "forward", forward)]


def _counted(once: Callable[[Norms], set[str]]) -> Patches:
    original = Norms.of

    def of(self: Norms, fragments: Any, *, divided: bool) -> dict[str, float]:
        self._counted_once = once(self)
        return original(self, fragments, divided=divided)

    return [(Norms, "of", of)]


def _norm_of_first_stage() -> Patches:
    original = Norms.of

    def of(self: Norms, fragments: Any, *, divided: bool) -> dict[str, float]:
        return original(self, [] if self._groups.place.pipeline else fragments, divided=divided)

    return [(Norms, "of", of)]


def _norm_of_own_part() -> Patches:
    silent = SimpleNamespace(**vars(distributed) | {"all_reduce": lambda *_, **__: None})
    return [(trainer.parallel.gradient, "distributed", silent)]


def _one_row_late() -> Patches:
    def micro_batches(self: Layout, rows: int | None = None) -> list[slice]:
        size, share = self.micro_batch_size, self._share(rows)
        return [slice(at + 1, min(at + 1 + size, share)) for at in range(0, share, size)]

    return [(Layout, "micro_batches", micro_batches)]


def _late_targets() -> Patches:
    def load(self: Pipeline, batches: Sequence[Batch]) -> Iterator[Any]:
        for batch, earlier in zip(batches, [batches[0], *batches], strict=False):
            self._run.batch = earlier
            yield trainer.parallel.pipeline._flow(batch), ()

    return [(Pipeline, "_load", load)]


def _range(made: Callable[[int, TensorGroup], range]) -> Patches:
    return [(trainer.parallel.vocabulary, "vocabulary_range", made)]


def _shifted(vocab: int, tensor: TensorGroup) -> range:
    own = vocabulary_range(vocab, tensor)
    return range(own.start + (tensor.rank > 0), own.stop)


def _padded(vocab: int, tensor: TensorGroup) -> range:
    rows = vocabulary_rows(vocab, tensor)
    return range(tensor.rank * rows, (tensor.rank + 1) * rows)


def _cut_without_parts() -> Patches:
    def slices(self: Partition, rank: int, size: int) -> list[tuple[slice, slice]]:
        part = -(-sum(self.parts) // size)
        here = slice(rank * part, min((rank + 1) * part, sum(self.parts)))
        return [(here, slice(0, here.stop - here.start))]

    return [(Partition, "slices", slices)]


def _rows_of_first(self: Layout, data_rank: int, rows: int | None = None) -> slice:
    return slice(0, self._share(rows))


def _bias_of_each_rank() -> Patches:
    original = RowParallelLinear.forward

    def forward(self: RowParallelLinear, x: Tensor) -> Tensor:
        assert self.bias is not None
        return original(self, x) + self.bias * (self.tensor.size - 1)

    return [(RowParallelLinear, "forward", forward)]


def _split_always(tensor: TensorGroup, needed: bool) -> Any:
    return split_random(tensor)


MUTATIONS = (
    Mutation(
        "sum after a row-parallel layer dropped",
        SHARED,
        ("loss", "gradient"),
        lambda: _without_sum_in("_RowParallel.forward"),
    ),
    Mutation(
        "sum before a column-parallel layer dropped",
        SHARED,
        ("gradient",),
        lambda: _without_sum_in("_ColumnParallel.backward"),
    ),
    Mutation(
        "sum of the embedding dropped",
        SHARDED,
        ("loss", "gradient"),
        lambda: [(trainer.parallel.vocabulary, "reduce_from_tensor", _the_same)],
    ),
    Mutation("sum over copies dropped, ZeRO 0", SHARED, ("gradient", "processes differ"), _unaveraged),
    Mutation("sum over copies dropped, ZeRO 1", SHARDED, ("gradient",), _unaveraged_shards),
    Mutation("tied gradient counted twice", STAGES, ("gradient", "norm"), lambda: _tied_sums(2)),
    Mutation("tied gradients not added up", STAGES, ("gradient", "norm"), lambda: _tied_sums(0)),
    Mutation(
        "tied copy not refreshed",
        STAGES,
        ("loss", "weight"),
        lambda: [(Pipeline, "copy_tied_weights", lambda self: None)],
    ),
    Mutation(
        "tied copy's gradient not cleared",
        STAGES,
        ("harder gradient", "weight"),
        lambda: [(Pipeline, "clear_copies", lambda self: None)],
    ),
    Mutation("mean over micro-batches instead of sum", SHARED, ("gradient", "norm"), _mean_of_micro_batches),
    Mutation("mean of the micro-batches' means", SHARED, ("loss", "gradient"), _mean_of_means),
    Mutation(
        "cut parameters counted once for the norm",
        SHARED,
        ("norm", "weight"),
        lambda: _counted(lambda self: set(self._numbers)),
    ),
    Mutation(
        "whole parameters counted by each for the norm",
        SHARED,
        ("norm", "weight"),
        lambda: _counted(lambda self: set()),
    ),
    Mutation("norm of the first stage only", STAGES_0, ("norm", "weight"), _norm_of_first_stage),
    Mutation("norm of each process's own part", SHARED, ("norm", "weight"), _norm_of_own_part),
    Mutation(
        "norms' gradients not summed over tokens",
        SEQUENCE,
        ("gradient of norms",),
        lambda: [(trainer.model.norms, "shared_weight", _the_same)],
    ),
    Mutation(
        "positions' gradients not summed over tokens",
        POSITIONS,
        ("gradient",),
        lambda: [(trainer.model.gpt, "shared_weight", _the_same)],
    ),
    Mutation(
        "head norms' gradients not summed over heads",
        SEQUENCE,
        ("harder gradient",),
        lambda: [(trainer.model.norms, "copy_to_tensor", _the_same)],
    ),
    Mutation("micro-batches one row late", SHARED, ("loss", "gradient"), _one_row_late),
    Mutation("targets of the micro-batch before", STAGES, ("loss", "gradient"), _late_targets),
    Mutation(
        "all copies take the first one's rows",
        SHARED,
        ("loss", "gradient"),
        lambda: [(Layout, "rows_of", _rows_of_first)],
    ),
    Mutation("vocabulary's offset wrong by one", SHARED, ("loss", "gradient"), lambda: _range(_shifted)),
    Mutation("filled-up logits not masked", SHARED, ("loss", "gradient"), lambda: _range(_padded)),
    Mutation("queries, keys and values cut as one", SHARED, ("loss", "gradient"), _cut_without_parts),
    Mutation("bias added by each rank", SHARDED, ("loss", "gradient"), _bias_of_each_rank),
    Mutation(
        "same dropout on own heads",
        DROPPING,
        (),
        lambda: [(trainer.model.dropout, "split_random", lambda tensor: nullcontext())],
    ),
    Mutation(
        "different dropout on the same stream",
        DROPPING,
        (),
        lambda: [(trainer.model.dropout, "own_random", _split_always)],
    ),
)
