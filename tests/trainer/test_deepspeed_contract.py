"""Every attribute of DeepSpeed that its documentation does not promise and that the engine relies on.

An update of DeepSpeed that changes one of them fails here, with the name of what changed, before it fails elsewhere
with numbers that are off.
"""

import inspect
from typing import Any

import pytest

from tests.parallel.launcher import run_ranks
from tests.trainer.engine_process import Case, gradient_of_step, layout_of, make_engine
from trainer.engine import import_deepspeed
from trainer.ranks import Ranks


@pytest.fixture(scope="module", autouse=True)
def _deepspeed() -> None:
    import_deepspeed("cpu")


def test_the_step_of_a_schedule_is_one_of_its_commands() -> None:
    from deepspeed.runtime.pipe.schedule import OptimizerStep, TrainSchedule

    for micro_batches in (1, 2, 5):
        for stage in (0, 1, 2):
            commands = [c for step in TrainSchedule(micro_batches, 3, stage).steps() for c in step]
            assert sum(isinstance(command, OptimizerStep) for command in commands) == 1
            assert isinstance(commands[-1], OptimizerStep)
            assert [type(command).__name__ for command in commands[-3:-1]] == ["ReduceTiedGrads", "ReduceGrads"]


def test_the_last_stage_loads_a_micro_batch_right_before_its_forward_pass() -> None:
    from deepspeed.runtime.pipe.schedule import ForwardPass, InferenceSchedule, LoadMicroBatch, TrainSchedule

    for kind in (TrainSchedule, InferenceSchedule):
        for micro_batches in (1, 3, 6):
            commands = [c for step in kind(micro_batches, 4, 3).steps() for c in step]
            relevant = [type(c) for c in commands if isinstance(c, LoadMicroBatch | ForwardPass)]
            assert relevant == [LoadMicroBatch, ForwardPass] * micro_batches


def test_the_pipeline_engine_has_the_seams_that_ours_uses() -> None:
    from deepspeed.pipe import PipelineModule
    from deepspeed.runtime.pipe.engine import PipelineEngine

    for name in ("_exec_schedule", "_exec_optimizer_step", "reset_activation_shape", "set_dataiterator"):
        assert callable(getattr(PipelineEngine, name)), name
    executed = inspect.getsource(PipelineEngine._exec_forward_pass)
    assert "if self._compute_loss and self.module.loss_fn is not None" in executed
    assert "self.loss = outputs" in executed, "without a loss function the last layer's result is the loss"
    assert "self.dynamic_shape or" in inspect.getsource(PipelineEngine._exec_recv_activations)
    for name in ("_partition_layers", "_set_bounds", "_synchronize_tied_weights"):
        assert callable(getattr(PipelineModule, name)), name
    assert "dist.broadcast" in inspect.getsource(PipelineModule._synchronize_tied_weights)
    assert "src=min(comm['ranks'])" in inspect.getsource(PipelineModule._synchronize_tied_weights)


def test_deepspeed_numbers_ranks_as_the_layout_does() -> None:
    from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology

    layout = layout_of(data=4, tensor=2, pipeline=3)
    topology = PipeModelDataParallelTopology(3, 2, 4)
    for rank in range(layout.world):
        place, theirs = layout.coordinates(rank), topology.get_coord(rank)
        assert (place.pipeline, place.data, place.tensor) == (theirs.pipe, theirs.data, theirs.model)


def test_zero_keeps_its_state_where_the_fragments_are_looked_for() -> None:
    results = run_ranks(2, look)
    for zero, attributes in results[0].items():
        assert attributes == [], f"ZeRO {zero} lacks {attributes}"


def look(ranks: Ranks) -> dict[int, list[str]]:
    wanted: dict[int, list[str]] = {
        1: ["scaled_global_norm", "single_partition_of_fp32_groups", "optimizer", "update_lp_params"],
        3: [
            "_get_norm_groups",
            "fp32_partitioned_groups_flat",
            "fp16_groups",
            "grad_position",
            "get_param_id",
            "get_fp32_grad_partitions",
            "persistent_parameters",
            "_partition_all_parameters",
            "_reassign_or_swap_out_partitioned_parameters",
            "optimizer",
        ],
    }
    wanted[2] = wanted[1]
    missing: dict[int, list[str]] = {}
    for zero, names in wanted.items():
        engine = make_engine(ranks, Case("tied", layout_of(data=2, zero=zero)))
        missing[zero] = [name for name in names if not hasattr(engine.deepspeed.optimizer, name)]
        for parameter in engine.local_parameters().values():
            missing[zero] += missing_of(parameter, zero)
        missing[zero] += wrong_verdicts(engine, ranks, zero)
        engine.close()
    return missing


def missing_of(parameter: Any, zero: int) -> list[str]:
    if zero == 3:
        return [] if hasattr(parameter, "ds_numel") else ["ds_numel"]
    mapping = parameter._hp_mapping
    names = ("lp_fragment_address", "hp_fragment_address", "hp_fragment", "param_group_index", "get_lp_grad_fragment")
    missing = [name for name in names if mapping is not None and not hasattr(mapping, name)]
    return missing + ([] if mapping is None or hasattr(parameter, "_index_in_param_group") else ["index"])


def wrong_verdicts(engine: Any, ranks: Ranks, zero: int) -> list[str]:
    """The norm that is asked for decides: a step asks for it, and a negative one makes it drop the gradient."""
    asked: list[float] = []
    verdict = engine._verdict

    def counted() -> Any:
        asked.append(float(verdict()))
        return verdict()

    if zero == 3:
        engine.deepspeed.optimizer._get_norm_groups = lambda: [counted()]
    else:
        engine.deepspeed.optimizer.scaled_global_norm = counted
    problems = []
    for expected in (-1.0, 1.0):
        gradient_of_step(engine, ranks, 0)
        engine.gradient_norm()
        before = engine.deepspeed.skipped_steps
        engine.step(0.01) if expected > 0 else engine.skip()
        dropped = engine.deepspeed.skipped_steps - before
        if asked != [expected] or dropped != (expected < 0):
            problems.append(f"asked {asked}, dropped {dropped}")
        asked.clear()
    if engine.deepspeed.optimizer.loss_scale != 1.0:
        problems.append("a loss scale of its own")
    return problems
