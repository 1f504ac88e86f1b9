"""A `Runner` without Ray: runs tasks one after the other in this process, with the engine's rules about records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline import storage
from pipeline.errors import ShardsFailed
from pipeline.shard import fingerprint
from pipeline.stage import Task


class SerialRunner:
    """Skips tasks whose record is valid; `order` rearranges the others, to prove that order does not matter."""

    def __init__(self, order: Callable[[list[Task]], list[Task]] = list) -> None:
        self._order = order
        self.executed: list[str] = []
        """Keys of the tasks that were really run, in the order in which they ran."""

    def map(self, directory: str, label: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """See `pipeline.stage.Runner.map`."""
        storage.remove_leftovers(directory)
        failures: list[str] = []
        for task in self._order([task for task in tasks if not _is_done(directory, task)]):
            self.executed.append(task.key)
            try:
                record = task.function(**task.arguments)
            except Exception as fault:
                failures.append(f"{task.key}: {fault}")
                continue
            sizes = {name: storage.size_of(storage.join(directory, name)) for name in record.get("files", {})}
            content = {**record, "fingerprint": _stamp(task), "file_bytes": sizes}
            storage.write_json(storage.join(directory, f"{task.key}.json"), content)
        if failures:
            raise ShardsFailed(f"{label}: {'; '.join(failures)}")
        return [storage.read_json(storage.join(directory, f"{task.key}.json")) for task in tasks]


def _stamp(task: Task) -> str:
    return fingerprint(task.function.__module__, task.function.__qualname__, task.key, task.inputs)


def _is_done(directory: str, task: Task) -> bool:
    path = storage.join(directory, f"{task.key}.json")
    if not storage.exists(path):
        return False
    record = storage.read_json(path)
    return record["fingerprint"] == _stamp(task) and all(
        storage.exists(storage.join(directory, name)) and storage.size_of(storage.join(directory, name)) == size
        for name, size in record["file_bytes"].items()
    )
