"""What a run says of itself: lines on disk, and the same events to whoever started it.

    metrics.jsonl    one line a logged step or validation; the machine's truth for curves
    events.jsonl     starts, resumes, checkpoints, warnings, the end
    samples.jsonl    texts written during training

Only the first process writes. After a resume, lines of steps that will be done again are cut off first, so that the
files of an interrupted run tell the same story as those of one that never stopped.
"""

import json
import time
from pathlib import Path
from typing import IO, Any

from pipeline import storage

METRICS = "metrics.jsonl"
EVENTS = "events.jsonl"
SAMPLES = "samples.jsonl"


class Journal:
    """Appends lines to a training directory's files; silent on all processes but the first."""

    def __init__(self, directory: Path, stream: IO[str] | None, *, active: bool) -> None:
        """`stream` receives every event as one JSON line, for the process that started the run."""
        self._directory, self._stream, self._active = directory, stream, active

    def rewind(self, step: int) -> None:
        """Forget what was measured after `step` steps."""
        if self._active:
            for name in (METRICS, SAMPLES):
                _keep_until(self._directory / name, step)

    def step(self, **measured: Any) -> None:
        """A logged training step."""
        self._append(METRICS, measured)
        self._emit("step", measured)

    def validation(self, **measured: Any) -> None:
        """A validation."""
        self._append(METRICS, measured)
        self._emit("validation", measured)

    def sample(self, *, step: int, prompt: str, text: str) -> None:
        """A text written during training; `text` continues `prompt`."""
        self._append(SAMPLES, {"step": step, "prompt": prompt, "text": text})
        self._emit("sample", {"step": step, "prompt": prompt, "text": text})

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

    def _append(self, name: str, line: dict[str, Any]) -> None:
        if self._active:
            with (self._directory / name).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _emit(self, kind: str, details: dict[str, Any]) -> None:
        if self._active and self._stream is not None:
            self._stream.write(json.dumps({"event": kind, **details}) + "\n")
            self._stream.flush()


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
