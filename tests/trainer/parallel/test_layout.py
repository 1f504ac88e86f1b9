"""The layout: every row of a batch is computed once, and ranks are numbered and grouped as DeepSpeed does it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from trainer.parallel.layout import Axis, Layout, plan_layout
from trainer.settings import ParallelSettings, PretrainSettings

LAYOUTS = [
    (data, tensor, pipeline)
    for data in range(1, 65)
    for tensor in range(1, 64 // data + 1)
    for pipeline in range(1, 64 // (data * tensor) + 1)
]
AXES: tuple[Axis, ...] = ("data", "tensor", "pipeline")


def planned(rows: int = 12, gpus: int = 0, cores: int = 2, devices: int | None = None, **settings: object) -> Layout:
    fields = PretrainSettings.model_validate({"global_batch_tokens": rows * 16, **settings})
    return plan_layout(fields, 16, gpus=gpus, cores=cores, devices=devices)


@given(data=st.integers(1, 16), per_rank=st.integers(1, 50), micro=st.integers(1, 60))
def test_the_micro_batches_of_all_copies_are_the_global_batch(data: int, per_rank: int, micro: int) -> None:
    rows = data * per_rank
    layout = planned(rows, parallel=ParallelSettings(data=data), micro_batch_size=micro)
    shares = [range(rows)[layout.rows_of(rank)] for rank in range(data)]
    pieces = layout.micro_batches()
    assert [row for share in shares for piece in pieces for row in share[piece]] == list(range(rows))
    assert len(pieces) == layout.accumulation_steps
    assert all(piece.stop - piece.start <= micro for piece in pieces)


def test_the_copies_are_the_gpus_and_on_cpu_two_where_there_are_two_cores() -> None:
    assert [planned(gpus=3).data, planned().data, planned(cores=1).data, planned(rows=5).data] == [3, 2, 1, 1]


def test_copies_follow_from_the_devices_and_their_groups() -> None:
    parallel = {"tensor": 2, "pipeline": 2}
    layout = planned(devices=12, parallel=parallel, micro_batch_size=4)
    assert (layout.data, layout.tensor, layout.pipeline, layout.world) == (3, 2, 2, 12)
    assert planned(gpus=8, parallel=parallel, micro_batch_size=2).data == 2
    assert planned(cores=8, parallel=parallel, micro_batch_size=2).data == 2
    assert planned(cores=2, parallel=parallel, micro_batch_size=2).data == 1


def test_given_copies_may_leave_gpus_of_this_machine_idle_but_no_process_of_a_cluster() -> None:
    assert planned(gpus=8, parallel={"data": 2}).world == 2
    with pytest.raises(UserError, match="data 2 x tensor 1 x pipeline 1 = 2 processes do not fit 8 devices"):
        planned(devices=8, parallel={"data": 2})


def test_ranks_are_numbered_and_grouped_in_every_layout_to_64_processes() -> None:
    for data, tensor, pipeline in LAYOUTS:
        layout = Layout(data, tensor, pipeline, 1, data, 1)
        places = [layout.coordinates(rank) for rank in range(layout.world)]
        assert len(set(places)) == layout.world
        for rank, place in enumerate(places):
            assert rank == layout.rank_of(place.data, place.pipeline, place.tensor)
            assert place.data < data
            assert place.pipeline < pipeline
            assert place.tensor < tensor
        for axis in AXES:
            groups, size = layout.groups(axis), getattr(layout, axis)
            assert sorted(rank for group in groups for rank in group) == list(range(layout.world))
            for group in groups:
                assert [getattr(places[rank], axis) for rank in group] == list(range(size))
                for other in set(AXES) - {axis}:
                    assert len({getattr(places[rank], other) for rank in group}) == 1


def test_tensor_ranks_are_neighbours_so_that_they_share_a_node() -> None:
    for data, tensor, pipeline in LAYOUTS:
        for group in Layout(data, tensor, pipeline, 1, data, 1).groups("tensor"):
            assert group == list(range(group[0], group[0] + tensor))
            assert group[0] % tensor == 0


def test_exactly_one_process_of_each_copy_counts_its_losses() -> None:
    for data, tensor, pipeline in LAYOUTS:
        layout = Layout(data, tensor, pipeline, 1, data, 1)
        counted = [layout.coordinates(rank) for rank in range(layout.world) if layout.is_counted(rank)]
        assert [place.data for place in counted] == list(range(data))
        assert all(place.pipeline == pipeline - 1 and place.tensor == 0 for place in counted)


@pytest.mark.parametrize("rank", [-1, 8])
def test_a_rank_outside_the_world_is_an_error(rank: int) -> None:
    with pytest.raises(ValueError, match=f"rank {rank} is none of 8 processes"):
        Layout(2, 2, 2, 1, 4, 1).coordinates(rank)


@pytest.mark.parametrize(("data", "tensor", "pipeline"), [(2, 2, 2), (3, 1, 4), (1, 4, 2), (4, 2, 1), (2, 3, 5)])
def test_ranks_are_those_of_deepspeed(data: int, tensor: int, pipeline: int) -> None:
    from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology

    layout = Layout(data, tensor, pipeline, 1, data, 1)
    topology = PipeModelDataParallelTopology(num_pp=pipeline, num_mp=tensor, num_dp=data)
    for rank in range(layout.world):
        place = layout.coordinates(rank)
        assert topology.get_coord(rank)._asdict() == {"pipe": place.pipeline, "data": place.data, "model": place.tensor}
    for axis, name in zip(AXES, ("data", "model", "pipe"), strict=True):
        lists = topology.get_axis_comm_lists(name)
        # DeepSpeed lists no groups for an axis of size 1.
        assert not lists or sorted(lists) == sorted(layout.groups(axis))


def test_a_batch_of_a_ramp_is_divided_like_a_whole_one() -> None:
    layout = Layout(2, 1, 1, 1, 24, 4)
    assert [layout.rows_of(rank, 12) for rank in range(2)] == [slice(0, 6), slice(6, 12)]
    assert layout.micro_batches(12) == [slice(0, 4), slice(4, 6)]
    with pytest.raises(ValueError, match="7 rows cannot be divided among 2 data-parallel copies"):
        layout.rows_of(0, 7)
