"""The layout: every row of a batch is computed once, and what does not work is refused with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from trainer.parallel.layout import Layout, plan_layout
from trainer.settings import ParallelSettings, PretrainSettings


def planned(rows: int = 12, gpus: int = 0, cores: int = 2, **settings: object) -> Layout:
    fields = PretrainSettings.model_validate({"global_batch_tokens": rows * 16, **settings})
    return plan_layout(fields, 16, gpus=gpus, cores=cores)


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


def test_a_batch_that_cannot_be_divided_suggests_the_nearest_that_can() -> None:
    with pytest.raises(UserError, match=r"12 rows .* among 5 .* the nearest that can is 10 rows \(160 tokens\)"):
        planned(parallel={"data": 5})


@pytest.mark.parametrize("kind", ["tensor", "pipeline"])
def test_layouts_of_later_versions_are_refused(kind: str) -> None:
    with pytest.raises(UserError, match=f"parallel.{kind} above 1 is not yet supported in this version"):
        planned(parallel={kind: 2})
