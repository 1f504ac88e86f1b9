"""What a run says of itself: lines on disk, and the same events to whoever started it.

    metrics.jsonl    one line a logged step, validation or skipped step; the machine's truth for curves
    events.jsonl     starts, resumes, checkpoints, skips, rollbacks, warnings, the end
    samples.jsonl    texts written during training

Only the first process writes. After a resume or a rollback, lines of steps that will be done again are cut off first,
so that the files of an interrupted run tell the same story as those of one that never stopped. A figure that is no
number has no place in JSON: it is left out, and the event says why.
"""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from pipeline import storage
from trainer.logging.loggers import MetricLogger

METRICS = "metrics.jsonl"
EVENTS = "events.jsonl"
SAMPLES = "samples.jsonl"


class Journal:
    """Appends lines to a training directory's files; silent on all processes but the first."""

    def __init__(self, directory: Path, stream: IO[str] | None, *, active: bool) -> None:
        """`stream` receives every event as one JSON line, for the process that started the run."""
        self._directory, self._stream, self._active = directory, stream, active
        self._loggers: list[MetricLogger] = []

    def attach(self, loggers: Sequence[MetricLogger]) -> None:
        """Pass everything on to these from now on."""
        self._loggers += loggers

    def close(self, failed: bool = False) -> None:
        """All is said; `failed`: the run ends with an error."""
        for logger in self._loggers:
            logger.close(failed)
        self._loggers.clear()

    def rewind(self, step: int) -> None:
        """Forget what was measured after `step` steps."""
        if self._active:
            for name in (METRICS, SAMPLES):
                _keep_until(self._directory / name, step)
        for logger in self._loggers:
            logger.rewind(step)

    def measured(self, step: int) -> list[str]:
        """What the files have of a step beside its own line: "validation", "samples"; known to the first process."""
        found: list[str] = []
        if not self._active:
            return found
        if any("validation_loss" in line for line in _lines_of(self._directory / METRICS, step)):
            found.append("validation")
        if _lines_of(self._directory / SAMPLES, step):
            found.append("samples")
        return found

    def step(self, **measured: Any) -> None:
        """A logged training step."""
        self._measured("step", measured)

    def validation(self, **measured: Any) -> None:
        """A validation."""
        self._measured("validation", measured)

    def norms(self, *, step: int, norms: dict[str, dict[str, float]]) -> None:
        """Norms by layer, after `step` steps."""
        self._measured("norms", {"step": step, "norms": norms})

    def skip(self, *, step: int, message: str, **measured: Any) -> None:
        """A step that was not taken, with the reason; a line of metrics and an event."""
        self._measured(None, {"step": step, "skipped": True, **measured})
        self.event("skip", step=step, message=message, **_numbers(measured))

    def sample(self, *, step: int, prompt: str, text: str) -> None:
        """A text written during training; `text` continues `prompt`."""
        self._append(SAMPLES, {"step": step, "prompt": prompt, "text": text})
        self._emit("sample", {"step": step, "prompt": prompt, "text": text})
        for logger in self._loggers:
            logger.log_text(step, "sample", prompt + text)

    def event(self, kind: str, /, **details: Any) -> None:
        """Anything else that happened."""
        self._append(EVENTS, {"event": kind, "time": round(time.time(), 3), **details})
        self._emit(kind, details)

    def messages(self, kind: str) -> list[str]:
        """The messages of all events of a kind, of earlier starts too."""
        path = self._directory / EVENTS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [str(event.get("message", "")) for event in events if event.get("event") == kind]

    def _measured(self, kind: str | None, measured: dict[str, Any]) -> None:
        line = _numbers(measured)
        self._append(METRICS, line)
        if kind is not None:
            self._emit(kind, line)
        for logger in self._loggers:
            logger.log(line["step"], {key: value for key, value in line.items() if key != "step"})

    def _append(self, name: str, line: dict[str, Any]) -> None:
        if self._active:
            with (self._directory / name).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _emit(self, kind: str, details: dict[str, Any]) -> None:
        if self._active and self._stream is not None:
            self._stream.write(json.dumps({"event": kind, **details}) + "\n")
            self._stream.flush()


def _numbers(measured: dict[str, Any]) -> dict[str, Any]:
    """What was measured without what has no value or is no number."""
    return {
        key: value
        for key, value in measured.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }


def _lines_of(path: Path, step: int) -> list[dict[str, Any]]:
    lines = path.read_bytes().splitlines() if path.exists() else []  # as text, a line would also end at U+2028
    return [line for line in map(json.loads, lines) if line["step"] == step]


def _keep_until(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            measured = json.loads(line)["step"]
        except (ValueError, KeyError):  # the last line of a killed process
            continue
        if measured <= step:
            kept.append(line)
    with storage.write_atomically(str(path)) as file:
        file.writelines(kept)
