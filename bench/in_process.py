"""A runner of surveys without Ray, so that what is measured is the work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pipeline import storage
from pipeline.shard import fingerprint
from pipeline.stage import Task


class InProcess:
    """Runs tasks one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """CPU-seconds of each step, by its label."""

    def map(self, directory: str, label: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """See `pipeline.stage.Runner.map`."""
        began = time.process_time()
        records = []
        for task in tasks:
            records.append({**task.function(**task.arguments), "fingerprint": fingerprint(task.key, task.inputs)})
            storage.write_json(storage.join(directory, f"{task.key}.json"), records[-1])
        self.seconds[label] = time.process_time() - began
        return records
