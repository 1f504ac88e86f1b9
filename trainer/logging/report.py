"""What a training run left behind, as figures for the report: curves, bits per byte, samples.

Decisions: read from metrics.jsonl, samples.jsonl and manifest.json alone, so it needs neither torch nor the model
and works on a run that is still going or was killed. A resumed run repeats steps after its checkpoint: the later
line counts. A last line that a kill cut short is left out. Curves are thinned to a bounded number of points.

Cost: one read of two text files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

CURVE_POINTS = 600
SAMPLES = 8


@dataclass(frozen=True)
class Curve:
    """One measured quantity over the steps."""

    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True)
class Sample:
    """A text that the model wrote during training."""

    step: int
    prompt: str
    text: str
    """The continuation, without the prompt."""


@dataclass(frozen=True)
class TrainingSummary:
    """What the report shows of a pretraining or finetuning run."""

    steps: int
    """The last step that was measured."""
    finished: bool
    """Whether the run wrote its manifest."""
    loss: Curve
    """Training loss, nats per token, of the steps that were taken."""
    skipped: Curve
    """Loss of the steps that were skipped, where it was a number."""
    validation_loss: Curve
    """Nats per token on the validation rows."""
    bits_per_byte: Curve
    """Of the validation text; empty where it is not measured."""
    loss_by_source: Mapping[str, Curve]
    """Nats per token on the validation rows of each dataset and source; empty where there is one."""
    learning_rate: Curve
    gradient_norm: Curve
    tokens_per_second: Curve
    mfu: Curve
    """Model FLOPs utilisation, 0 to 1; empty where no peak is known."""
    figures: Mapping[str, Any]
    """The numbers and words of the run's manifest: parameters, tokens, final losses, ..."""
    samples: Sequence[Sample]
    """The latest ones, at most `SAMPLES`."""


def summarise_training(directory: Path) -> TrainingSummary | None:
    """The summary of a training directory, or None when no step of it has been logged.

    Raises:
        UserError: a file of the directory is damaged; names file and line.
    """
    lines = _by_step(_read_lines(directory / "metrics.jsonl"))
    if not lines:
        return None
    taken = {step: line for step, line in lines.items() if not line.get("skipped")}
    manifest_path = directory / "manifest.json"
    manifest = json.loads(manifest_path.read_text()) if manifest_path.exists() else None
    return TrainingSummary(
        steps=max(lines),
        finished=manifest is not None,
        loss=_curve(taken, "loss"),
        skipped=_curve({step: line for step, line in lines.items() if step not in taken}, "loss"),
        validation_loss=_curve(lines, "validation_loss"),
        bits_per_byte=_curve(lines, "bits_per_byte"),
        loss_by_source=_by_source(lines),
        learning_rate=_curve(taken, "learning_rate"),
        gradient_norm=_curve(taken, "gradient_norm"),
        tokens_per_second=_curve(lines, "tokens_per_second"),
        mfu=_curve(lines, "mfu"),
        figures={key: value for key, value in (manifest or {}).items() if isinstance(value, int | float | str)},
        samples=_samples(directory / "samples.jsonl"),
    )


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file; empty when there is none; an unfinished last line is left out."""
    if not path.exists():
        return []
    entries = []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as fault:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number} is not JSON ({fault}): remove the line") from fault
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def _by_step(entries: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """What was measured at each step, in the order of steps; the last line of a step wins, key by key."""
    steps: dict[int, dict[str, Any]] = {}
    for entry in entries:
        steps.setdefault(entry["step"], {}).update(entry)
    return dict(sorted(steps.items()))


def _by_source(lines: Mapping[int, Mapping[str, Any]]) -> dict[str, Curve]:
    """Validation loss of each source, in the order of their names."""
    names = sorted({name for line in lines.values() for name in line.get("by_source", {})})
    return {
        name: _curve(
            {step: line["by_source"].get(name, {}) for step, line in lines.items() if "by_source" in line}, "loss"
        )
        for name in names
    }


def _curve(lines: Mapping[int, Mapping[str, Any]], key: str) -> Curve:
    points = [(step, float(line[key])) for step, line in lines.items() if line.get(key) is not None]
    if len(points) > CURVE_POINTS:
        kept = [index * (len(points) - 1) // (CURVE_POINTS - 1) for index in range(CURVE_POINTS)]
        points = [points[index] for index in kept]
    return Curve([step for step, _ in points], [value for _, value in points])


def _samples(path: Path) -> list[Sample]:
    entries = _read_lines(path)[-SAMPLES:]
    return [Sample(entry.get("step", 0), entry.get("prompt", ""), entry.get("text", "")) for entry in entries]
