"""The tasks of a survey, phase by phase: one for each shard or for each partition, in a form that all surveys share.

A phase writes its files into one folder. Map tasks read a shard's text (`text_tasks`), reducers a partition of what
those wrote (`partition_tasks`), and what is decided is gathered by shard again (`shard_tasks`).

Decisions: a task's fingerprint is that of what its phase depends on and of its number, last. Only map tasks have a
weight, the text they read; the others are about equal. What a phase found is identified by the sha256 of all its files
in the order of the tasks, which the phase after it depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.dedup.partitions import partition_name
from pipeline.shard import StageDirectory, fingerprint, shard_name
from pipeline.stage import Runner, Task

TaskFunction = Callable[..., dict[str, Any]]


def text_tasks(
    function: TaskFunction,
    directory: str,
    corpus: StageDirectory,
    arguments: Mapping[str, Any],
    inputs: Sequence[Any],
    kernels: tuple[str, ...],
    starts: np.ndarray | None = None,
) -> list[Task]:
    """A task for each shard that reads its text.

    Args:
        function: Called with `directory`, `path` and `shard`, its number, besides the arguments.
        directory: Where the files of the phase go.
        corpus: Whose shards are read.
        arguments: The same for all tasks.
        inputs: What the result depends on besides the number of the shard, as JSON.
        kernels: Kernel modules that the function calls.
        starts: If the function needs it as `first`, the number of each shard's first document: int64 [at least shards].
    """
    return [
        Task(
            key=shard_name(shard),
            function=function,
            arguments={
                "directory": directory,
                "path": corpus.path(entry),
                "shard": shard,
                **({} if starts is None else {"first": int(starts[shard])}),
                **arguments,
            },
            inputs=fingerprint(*inputs, shard),
            weight=max(1, entry.text_bytes),
            kernels=kernels,
        )
        for shard, entry in enumerate(corpus.shards)
    ]


def partition_tasks(
    function: TaskFunction,
    directory: str,
    partitions: int,
    arguments: Mapping[str, Any],
    inputs: Sequence[Any],
    kernels: tuple[str, ...] = (),
) -> list[Task]:
    """A task for each partition of an earlier phase; as `text_tasks`, called with `partition` and `partitions`."""
    arguments = {"partitions": partitions, **arguments}
    return _tasks(function, directory, "partition", partition_name, partitions, arguments, inputs, kernels)


def shard_tasks(
    function: TaskFunction,
    directory: str,
    shards: int,
    arguments: Mapping[str, Any],
    inputs: Sequence[Any],
    kernels: tuple[str, ...] = (),
) -> list[Task]:
    """A task for each shard that gathers what concerns it; as `text_tasks`, called without a path."""
    return _tasks(function, directory, "shard", shard_name, shards, arguments, inputs, kernels)


def _tasks(
    function: TaskFunction,
    directory: str,
    what: str,
    name_of: Callable[[int], str],
    count: int,
    arguments: Mapping[str, Any],
    inputs: Sequence[Any],
    kernels: tuple[str, ...],
) -> list[Task]:
    """A task for each number below `count`, called with it as `what`."""
    return [
        Task(
            key=name_of(number),
            function=function,
            arguments={"directory": directory, what: number, **arguments},
            inputs=fingerprint(*inputs, number),
            kernels=kernels,
        )
        for number in range(count)
    ]


def run_phase(runner: Runner, directory: str, label: str, tasks: Sequence[Task]) -> str:
    """Run the tasks of a phase whose files go into `directory`; returns a fingerprint of all the files.

    Raises:
        ShardsFailed: a task failed; all others are done.
    """
    return fingerprint([record["files"] for record in runner.map(directory, label, tasks)])
