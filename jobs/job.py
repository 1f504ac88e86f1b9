"""What every job starts with: the checked recipe, the locked run directory, the engine, the stop request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.launching import HERE, Launching
from jobs.recipe import LoadedRecipe, Recipe
from jobs.run_directory import RunDirectory, locked
from jobs.terminal import ShardProgress
from pipeline.interrupts import StopRequest

if TYPE_CHECKING:
    from pipeline.engine import Engine


def nobody_waits() -> None:
    """No other process waits for this one."""


@dataclass(frozen=True)
class Job:
    """A run that this process holds."""

    loaded: LoadedRecipe
    run: RunDirectory
    engine: Engine
    stop: StopRequest
    launching: Launching = HERE
    let_others_go_on: Callable[[], None] = nobody_waits
    """Tells the processes that wait for this one that all is there which they read."""

    @property
    def recipe(self) -> Recipe:
        """The checked recipe."""
        return self.loaded.recipe


@contextmanager
def open_job(
    loaded: LoadedRecipe, launching: Launching = HERE, let_others_go_on: Callable[[], None] = nobody_waits
) -> Iterator[Job]:
    """Lock the run directory, save the recipe, and have an engine ready; all is given back at the end."""
    from pipeline.engine import Engine

    run = RunDirectory(loaded.recipe.run)
    with locked(run):
        run.save_recipe(loaded)
        with StopRequest() as stop, Engine(loaded.recipe.workers, ShardProgress(), stop) as engine:
            yield Job(loaded, run, engine, stop, launching, let_others_go_on)
