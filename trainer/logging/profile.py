"""Traces of chosen steps by torch's profiler: one file a process, opened in https://ui.perfetto.dev or Chrome.

Traced steps are slower and need memory for the trace; all others cost nothing.
"""

from pathlib import Path
from typing import Any

from trainer.settings.logging import ProfileSettings

FOLDER = "profile"
"""Of a training directory."""


class StepProfiler:
    """Traces steps `start` to `start + steps - 1` (the first step of a run is 1)."""

    def __init__(self, settings: ProfileSettings | None, directory: Path, rank: int) -> None:
        """`settings` None: nothing is traced."""
        self._settings, self._path = settings, directory / FOLDER / f"rank_{rank:05d}.json.gz"
        self._running: Any = None

    def before(self, step: int) -> None:
        """Step `step` begins."""
        settings = self._settings
        if settings is not None and self._running is None and 0 <= step - settings.start < settings.steps:
            from torch.profiler import profile  # a second of imports

            self._running = profile(profile_memory=settings.memory, record_shapes=settings.memory)
            self._running.start()

    def after(self, step: int) -> Path | None:
        """Step `step` has ended; returns the trace when it was the last of it."""
        settings = self._settings
        if settings is None or self._running is None or step + 1 < settings.start + settings.steps:
            return None
        return self.finish()

    def finish(self) -> Path | None:
        """Write what was traced so far, if anything; returns the file."""
        if self._running is None:
            return None
        self._running.stop()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}")
        self._running.export_chrome_trace(str(temporary))
        temporary.rename(self._path)
        self._running = None
        return self._path
