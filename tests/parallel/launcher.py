"""Tests on several processes: `run_ranks(4, function)` calls `function(ranks)` on four, and gives what each returned.

The ranks are forked from one process that has imported torch and DeepSpeed and done nothing else, and that lives as
long as the tests do: a launch costs a fork and the ranks' meeting (under a second), not their imports. Tests must not
fork themselves: a child of a process that has computed gradients cannot.

Ranks talk through gloo on the CPU with one thread each, or NCCL where there is a GPU for each (`ranks.device` says so).
"""

import faulthandler
import multiprocessing
import os
import pickle
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.fork_environment import environment_of_forks, lent
from trainer.devices import count_gpus

ENVIRONMENT = environment_of_forks("cuda" if count_gpus() else "cpu")
"""Of the process that ranks are forked from."""
SETTLE_SECONDS = 1.0
"""How long a failure may wait for the one that caused it."""


class RankFailure(AssertionError):
    """What went wrong on one of the ranks, with its traceback."""


def run_ranks(world: int, function: Callable[..., Any], *args: Any, timeout: float = 120.0) -> list[Any]:
    """`function(ranks, *args)` on `world` processes; what they returned, by rank.

    `function` must be importable (a test module's own function is), `ranks` is a `trainer.ranks.Ranks` in a process
    group of all. Raises RankFailure with the first traceback, or with where each rank stood after `timeout` seconds;
    no rank is left running.
    """
    __tracebackhide__ = True
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.parallel.preload"])
    # Plain pickle: multiprocessing's own would share tensors' memory between processes that come and go.
    work = pickle.dumps((function, args))
    running: list[_Rank] = []
    with tempfile.TemporaryDirectory() as meeting_place:
        try:
            for rank in range(world):
                here, there = context.Pipe()
                process = context.Process(
                    target=_be_rank, args=(rank, world, work, meeting_place, timeout, there), daemon=True
                )
                with lent(ENVIRONMENT):
                    process.start()
                there.close()
                running.append(_Rank(rank, process, here, Path(meeting_place) / f"stack{rank}"))
            return _gather(running, timeout)
        finally:
            for item in running:
                item.connection.close()
                item.process.kill()
                item.process.join()


@dataclass(frozen=True)
class _Rank:
    number: int
    process: BaseProcess
    connection: Connection
    stack: Path
    """Where it writes what it is doing when time is up."""


def _gather(running: list[_Rank], timeout: float) -> list[Any]:
    __tracebackhide__ = True
    end = time.monotonic() + timeout
    waiting = {item.connection: item for item in running}
    results: dict[int, Any] = {}
    failures: list[tuple[float, str]] = []
    while waiting:
        ready = wait(list(waiting), SETTLE_SECONDS if failures else max(0.0, end - time.monotonic()))
        if not ready:
            break
        for connection in ready:
            item = waiting.pop(connection)  # type: ignore[call-overload]
            try:
                succeeded, moment, value = pickle.loads(item.connection.recv_bytes())
            except EOFError:
                item.process.join(5)
                # It could not say when; the others fail because it is gone.
                succeeded, moment, value = False, 0.0, f"ended with exit code {item.process.exitcode}"
            if succeeded:
                results[item.number] = value
            else:
                failures.append((moment, f"rank {item.number}: {value}"))
    if failures:
        # A rank that fails leaves the others' messages without an answer: the first to fail is the cause.
        raise RankFailure(min(failures)[1])
    if waiting:
        raise RankFailure(_where_they_stand(list(waiting.values()), timeout))
    return [results[rank] for rank in range(len(running))]


def _where_they_stand(late: list[_Rank], timeout: float) -> str:
    for item in late:
        if item.process.pid is not None:
            os.kill(item.process.pid, signal.SIGUSR1)
    time.sleep(1.0)
    stacks = [f"rank {item.number}:\n{item.stack.read_text() if item.stack.exists() else ''}" for item in late]
    return "\n".join([f"not finished after {timeout:g} s", *stacks])


def _be_rank(rank: int, world: int, work: bytes, meeting_place: str, timeout: float, connection: Connection) -> None:
    with (Path(meeting_place) / f"stack{rank}").open("w") as stack:
        faulthandler.register(signal.SIGUSR1, file=stack)
        try:
            answer = (True, time.monotonic(), _compute(rank, world, work, meeting_place, timeout))
        except BaseException:
            answer = (False, time.monotonic(), traceback.format_exc())
        faulthandler.unregister(signal.SIGUSR1)
    connection.send_bytes(pickle.dumps(answer))
    # Others may still need this rank's side of their last message: stay until all have answered.
    connection.poll(None)
    os._exit(0)


def _compute(rank: int, world: int, work: bytes, meeting_place: str, timeout: float) -> Any:
    import torch
    from torch import distributed

    from trainer.ranks import Ranks

    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    on_gpu = count_gpus() >= world
    device = torch.device("cuda", rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=distributed.FileStore(f"{meeting_place}/store", world),  # type: ignore[attr-defined]
        rank=rank,
        world_size=world,
        # Later than the tests' own, which tells where all ranks stand.
        timeout=timedelta(seconds=timeout + 60),
    )
    function, args = pickle.loads(work)
    return function(Ranks(rank, world, device), *args)
