"""Runs the tasks of one step on Ray: bounded window, retries, one record a task, exact resume.

The only importer of ray in the pipeline. Decisions (measured before they were taken):

- Plain tasks over shards, not Ray Data: half the CPU, stable file names, a shard stays a shard.
- Workers write their own files and records; through Ray go only paths and small dictionaries.
- A task is done when its record exists, carries the task's fingerprint, and the files it lists have their sizes. So
  a killed run continues where it was, and a run with nothing to do never starts Ray.
- Only faults of the surroundings are tried again (a network hiccup, a worker that was killed or ran out of memory), a
  few times, here and not by Ray, whose retries are endless for memory and speak in its own voice. A fault of a shard
  fails that shard; the others go on; the step then raises `ShardsFailed` and no manifest is written.
- An embedded Ray is quiet, small (no dashboard, 256 MiB object store), private to this job and gone with it. With
  `RAY_ADDRESS` set the same job joins that cluster.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import socket
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline import storage
from pipeline.errors import Interrupted, ShardsFailed, StorageError, UserError
from pipeline.interrupts import StopRequest
from pipeline.kernels.compiled import ensure_compiled
from pipeline.progress import Progress, Silent
from pipeline.shard import fingerprint
from pipeline.stage import Task

OBJECT_STORE_BYTES = 256 << 20
MAXIMUM_ATTEMPTS = 4
SECONDS_BETWEEN_ATTEMPTS = 0.5
TASKS_IN_FLIGHT_PER_WORKER = 2
SESSIONS = "/tmp"
SESSION_PREFIX = "gptmill-ray-"
_QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_task_oom_retries": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_enable_metrics_collection": "0",
}
_PRIVATE_RAY = {"RAY_AUTH_MODE": "disabled"}
"""Of an embedded Ray only: what a cluster asks of those who join is the cluster's to say."""
CONNECT_SECONDS = 10.0
POLL_SECONDS = 0.1
"""Python sees signals between calls, and two that arrive during one call as one: shorter than two presses of Ctrl-C."""


class Engine:
    """Implements `pipeline.stage.Runner` on Ray; starts it at the first task that is really to be done."""

    def __init__(
        self, workers: int | None = None, progress: Progress | None = None, stop: StopRequest | None = None
    ) -> None:
        """`workers`: processes of the embedded Ray (all cores when None); a cluster brings its own number."""
        self._workers = workers or len(os.sched_getaffinity(0))
        self._progress = progress or Silent()
        self._stop = stop or StopRequest()
        self._ray: Any = None
        self._temporary: str | None = None
        self._owner: int | None = None
        self.tasks_done = 0
        """Tasks that were really run, not found finished: 0 after a run that had nothing to do."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the embedded Ray and remove its files; a cluster is only left."""
        if self._ray is not None:
            self._ray.shutdown()
            self._ray = None
        if self._temporary is not None and self._owner is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            os.close(self._owner)
            self._temporary = self._owner = None

    def map(self, directory: str, label: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """Run what is not yet done and return the records of all tasks, in their order.

        Raises:
            ShardsFailed: some tasks failed; says which and why. All others are finished.
            Interrupted: a stop was requested; running tasks were finished first.
        """
        storage.remove_leftovers(directory)
        records: dict[str, dict[str, Any]] = {}
        pending: list[Task] = []
        for task in tasks:
            record = _valid_record(directory, task)
            if record is None:
                pending.append(task)
            else:
                records[task.key] = record
        if pending:
            ensure_compiled((name for task in pending for name in task.kernels), say=self._progress.say)
            total = sum(task.weight for task in tasks)
            self._progress.begin(label, total, total - sum(task.weight for task in pending), len(pending))
            try:
                with self._stop.patiently():
                    self._run(directory, label, pending, records)
            finally:
                self._progress.end(label)
        return [records[task.key] for task in tasks]

    def _run(self, directory: str, label: str, pending: list[Task], records: dict[str, dict[str, Any]]) -> None:
        ray, workers = self.connect()
        execute = ray.remote(num_cpus=1, max_retries=0)(_execute)
        waiting = [(task, 1) for task in reversed(pending)]
        running: dict[Any, tuple[Task, int]] = {}
        failures: dict[str, str] = {}
        while (waiting and not self._stop.pending) or running:
            while waiting and len(running) < workers * TASKS_IN_FLIGHT_PER_WORKER and not self._stop.pending:
                task, attempt = waiting.pop()
                delay = SECONDS_BETWEEN_ATTEMPTS * (attempt - 1)
                arguments = (
                    directory,
                    task.key,
                    task.function,
                    dict(task.arguments),
                    task_stamp(task),
                    task.kernels,
                    delay,
                )
                running[execute.remote(*arguments)] = (task, attempt)
            ready, _ = ray.wait(list(running), num_returns=1, timeout=POLL_SECONDS)
            self._stop.check()
            for reference in ready:
                task, attempt = running.pop(reference)
                outcome = _result(ray, reference)
                if "passing" in outcome and attempt < MAXIMUM_ATTEMPTS:
                    self._progress.say(f"{label}: {task.key}: {outcome['passing']}; trying again")
                    waiting.append((task, attempt + 1))
                elif "passing" in outcome or "failed" in outcome:
                    reason = outcome.get("failed", f"{outcome.get('passing')} (tried {attempt} times)")
                    failures[task.key] = reason
                    self._progress.say(f"{label}: {task.key} failed: {reason.splitlines()[0]}")
                else:
                    records[task.key] = outcome
                    self.tasks_done += 1
                    self._progress.advance(label, task.weight, outcome)
        if failures:
            raise ShardsFailed(_failure_message(label, failures, len(pending)))
        if waiting:
            raise Interrupted(
                f"stopped on request during {label}: {len(waiting)} of {len(pending)} tasks are left; "
                "the same command continues"
            )

    def connect(self) -> tuple[Any, int]:
        """Ray itself, started or joined when it was not yet, and its number of workers."""
        if self._ray is None:
            address = os.environ.get("RAY_ADDRESS")
            for key, value in (_QUIET_RAY if address else _QUIET_RAY | _PRIVATE_RAY).items():
                os.environ.setdefault(key, value)
            import ray

            self._ray = ray
            if address:
                _join_cluster(ray, address)
            else:
                _remove_dead_sessions()
                # Unix socket paths are limited to 107 bytes: keep the folder's name short.
                self._temporary = tempfile.mkdtemp(prefix=f"{SESSION_PREFIX}{os.getpid()}-", dir=SESSIONS)
                self._owner = _lock(self._temporary, os.O_CREAT)
                ray.init(
                    address="local",
                    num_cpus=self._workers,
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    _temp_dir=self._temporary,
                )
        return self._ray, max(1, int(self._ray.cluster_resources().get("CPU", 1)))


def _lock(folder: str, flags: int = 0) -> int:
    """Take a session folder; the kernel gives it back when this process ends, however it ends."""
    descriptor = os.open(Path(folder, "owner"), os.O_RDWR | flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_dead_sessions() -> None:
    """Remove what embedded Rays left behind whose job was killed with -9."""
    for folder in Path(SESSIONS).glob(f"{SESSION_PREFIX}*"):
        with suppress(OSError):
            descriptor = _lock(str(folder))
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def task_stamp(task: Task) -> str:
    """The fingerprint that a task's record carries."""
    return fingerprint(task.function.__module__, task.function.__qualname__, task.key, task.inputs)


def _join_cluster(ray: Any, address: str) -> None:
    host, _, port = address.rpartition("/")[2].rpartition(":")
    try:
        if port.isdigit():
            # Ray itself would go on trying for minutes.
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as fault:
        reason = (str(fault).strip() or type(fault).__name__).splitlines()[0]
        raise UserError(
            f"cannot join the Ray cluster RAY_ADDRESS={address} ({reason}): start it, correct the address, or unset "
            "RAY_ADDRESS to use an embedded Ray"
        ) from fault


def _valid_record(directory: str, task: Task) -> dict[str, Any] | None:
    path = storage.join(directory, f"{task.key}.json")
    if not storage.exists(path):
        return None
    try:
        record: dict[str, Any] = storage.read_json(path)
    except StorageError:
        return None
    if record.get("fingerprint") != task_stamp(task):
        return None
    for name, size in record["file_bytes"].items():
        file = storage.join(directory, name)
        if not storage.exists(file) or storage.size_of(file) != size:
            return None
    return record


def _execute(
    directory: str,
    key: str,
    function: Callable[..., dict[str, Any]],
    arguments: Mapping[str, Any],
    stamp: str,
    kernels: Sequence[str],
    delay: float,
) -> dict[str, Any]:
    """In a worker: do the task, write its record last, return it; or say how it failed."""
    time.sleep(delay)
    ensure_compiled(kernels)
    started = time.perf_counter()
    path = storage.join(directory, f"{key}.json")
    try:
        # An old record must not vouch for files that this attempt may leave behind half-replaced.
        storage.remove(path)
        record = function(**arguments)
        record["fingerprint"] = stamp
        record["file_bytes"] = {
            name: storage.size_of(storage.join(directory, name)) for name in sorted(record.get("files", {}))
        }
        record["seconds"] = round(time.perf_counter() - started, 3)
        storage.write_json(path, record)
        return record
    except UserError as fault:
        return {"failed": str(fault)}
    except OSError as fault:
        return {"passing": f"{type(fault).__name__}: {fault}"}
    except Exception as fault:
        return {"failed": f"{type(fault).__name__}: {fault}\n{traceback.format_exc()}"}


def _result(ray: Any, reference: Any) -> dict[str, Any]:
    """The record of a finished task, or `passing` or `failed` with the reason."""
    try:
        outcome: dict[str, Any] = ray.get(reference)
        return outcome
    except ray.exceptions.OutOfMemoryError:
        return {"passing": "the worker ran out of memory: lower `workers` or make shards smaller"}
    except ray.exceptions.RayTaskError as fault:
        return {"failed": f"{type(fault.cause).__name__}: {fault.cause}"}
    except ray.exceptions.RayError as fault:
        return {"passing": f"the worker died ({type(fault).__name__}): `dmesg` may tell who killed it"}


def _failure_message(label: str, failures: dict[str, str], tasks: int) -> str:
    first = "; ".join(f"{key}: {reason.splitlines()[0]}" for key, reason in sorted(failures.items())[:3])
    more = f" (and {len(failures) - 3} more)" if len(failures) > 3 else ""
    return (
        f"{label}: {len(failures)} of {tasks} tasks failed, the others are finished and kept. {first}{more}. "
        "Mend the cause and run the same command again"
    )
