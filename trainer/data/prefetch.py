"""Reads ahead of the loop, in a thread, without changing what the loop gets.

The loop asks for a step and gets that step: what was read ahead for another one is thrown away. So nothing of this
enters the state of a run, and a resume at any step needs nothing from it. An error of the thread is raised where the
loop asks for the step it belongs to. Memory: `depth` steps.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Loaded = TypeVar("Loaded")

DEPTH = 2


class Prefetcher(Generic[Loaded]):
    """Calls `load(step)` for the steps after the one that was asked for, up to `steps`, ahead of time."""

    def __init__(self, load: Callable[[int], Loaded], steps: int, depth: int = DEPTH) -> None:
        self._load, self._steps, self._depth = load, steps, depth
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
        self._waiting: dict[int, Future[Loaded]] = {}

    def get(self, step: int) -> Loaded:
        """What `load(step)` gives; raises what it raises."""
        wanted = range(step, max(step + 1, min(step + 1 + self._depth, self._steps)))
        for number in [number for number in self._waiting if number not in wanted]:
            self._waiting.pop(number).cancel()
        for number in wanted:
            if number not in self._waiting:
                self._waiting[number] = self._thread.submit(self._load, number)
        return self._waiting.pop(step).result()

    def close(self) -> None:
        """End the thread once it has finished the step it is at."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._waiting.clear()
