"""The launcher of the multi-process tests itself: results by rank, the first failure, nothing left running."""

import os
import time

import pytest
import torch
from torch import distributed

from tests.parallel.launcher import RankFailure, run_ranks
from trainer.ranks import Ranks


def sum_of_ranks(ranks: Ranks, more: float) -> tuple[int, float, int, torch.Tensor]:
    total = torch.full((), ranks.rank + more, device=ranks.device)
    distributed.all_reduce(total)
    weight = torch.ones(3, requires_grad=True)
    (weight * 2).sum().backward()  # type: ignore[no-untyped-call]
    return ranks.rank, total.item(), torch.get_num_threads(), weight.grad  # type: ignore[return-value]


def one_fails(ranks: Ranks) -> None:
    if ranks.rank == 1:
        raise ValueError("the cause")
    distributed.barrier()


def one_dies(ranks: Ranks) -> None:
    if ranks.rank == 1:
        os._exit(7)
    distributed.barrier()


def one_hangs(ranks: Ranks) -> int:
    if ranks.rank == 1:
        time.sleep(60)
    return os.getpid()


def test_results_come_by_rank_also_when_this_process_has_computed_gradients() -> None:
    torch.ones((), requires_grad=True).backward()  # type: ignore[no-untyped-call]
    results = run_ranks(2, sum_of_ranks, 0.5)
    assert [result[:3] for result in results] == [(0, 2.0, 1), (1, 2.0, 1)]
    assert results[1][3].tolist() == [2.0, 2.0, 2.0]


def test_the_first_failure_is_told_with_its_traceback() -> None:
    with pytest.raises(RankFailure, match=r"(?s)^rank 1: .*in one_fails.*ValueError: the cause"):
        run_ranks(2, one_fails)


def test_a_rank_that_dies_is_told() -> None:
    with pytest.raises(RankFailure, match=r"^rank 1: ended with exit code 7"):
        run_ranks(2, one_dies)


def test_ranks_that_hang_tell_where_and_are_ended() -> None:
    before = time.monotonic()
    with pytest.raises(RankFailure, match=r"(?s)^not finished after 3 s.*rank 1.*in one_hangs"):
        run_ranks(2, one_hangs, timeout=3)
    assert time.monotonic() - before < 30
