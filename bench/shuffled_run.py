"""Tasks in random order: `python -m bench.shuffled_run PATTERN RUN_FOLDER SETTINGS_JSON SEED`.

A deduplication as in `bench.minhash_run`, but the tasks of each phase and of each pass run in an order drawn from SEED.
What lies in RUN_FOLDER/corpus must be what `gptmill corpus` writes.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from typing import Any

from bench.in_process import InProcess
from pipeline import storage
from pipeline.corpus import build_corpus
from pipeline.dedup.minhash import MinhashDedup
from pipeline.sources.jsonl import JsonLines
from pipeline.stage import Task


class Shuffled(InProcess):
    """Runs tasks one after the other in an order drawn from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = random.Random(seed)

    def map(self, directory: str, label: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """See `pipeline.stage.Runner.map`."""
        order = self._chance.sample(range(len(tasks)), len(tasks))
        records = super().map(directory, label, [tasks[place] for place in order])
        return [record for _, record in sorted(zip(order, records, strict=True), key=lambda pair: pair[0])]


if __name__ == "__main__":
    pattern, run, settings, seed = sys.argv[1:]
    stage = MinhashDedup.model_validate(json.loads(settings))
    build_corpus([JsonLines(path=pattern)], [stage], storage.join(run, "corpus"), Shuffled(int(seed)), 0.0)
