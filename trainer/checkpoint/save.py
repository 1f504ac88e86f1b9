"""What a checkpoint of a run holds beside the tensors, and the writer that a run's settings ask for.

There is no random state to save: data order, initial weights and dropout are functions of (seed, step), so the step
is the whole cursor, with what the loop adds to it.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer.changes import recipe_of
from trainer.checkpoint.copies import CheckpointCopies
from trainer.checkpoint.directory import FORMAT_VERSION
from trainer.checkpoint.reshape import layout_record
from trainer.checkpoint.writer import CheckpointWriter, Report
from trainer.engine import TrainingEngine
from trainer.identity import Inputs
from trainer.model.declaration import declare_parameters
from trainer.ranks import Ranks


@dataclass(frozen=True)
class Progress:
    """How far a run is; everything else follows from the settings."""

    step: int = 0
    """Optimizer steps done."""
    tokens: int = 0
    """Valid target tokens learned from."""
    seconds: float = 0.0
    """Spent training, over all starts; for the report only."""
    loop_state: dict[str, Any] = field(default_factory=dict)
    """What else the loop's next decisions depend on, for JSON; see `trainer.loop`."""


def open_writer(
    checkpoints: Path, engine: TrainingEngine, ranks: Ranks, inputs: Inputs, report: Report
) -> CheckpointWriter:
    """What saves this run; `report` is told of each checkpoint on disk, and of warnings."""
    settings = inputs.job.settings
    copies = None
    if settings.checkpoint_copy is not None and ranks.is_first:
        copies = CheckpointCopies(settings.checkpoint_copy, settings.keep_last, settings.keep_every)
    return CheckpointWriter(
        checkpoints,
        ranks,
        declare_parameters(engine.shape),
        report,
        asynchronous=settings.asynchronous_checkpoints,
        keep_last=settings.keep_last,
        keep_every=settings.keep_every,
        copies=copies,
    )


def state_of(engine: TrainingEngine, inputs: Inputs, progress: Progress, next_batch: str) -> dict[str, Any]:
    """The content of trainer.json; `next_batch` is the hash of the data of the step to come."""
    return {
        "format_version": FORMAT_VERSION,
        **asdict(progress),
        "samples": inputs.batches.samples_before(progress.step),
        "optimizer_steps": engine.optimizer_steps,
        "loss_scale": engine.scaler_state(),
        "random": {"seed": inputs.job.seed, "drawn_from": "seed and step: there is no other random state"},
        "identity": inputs.identity,
        "recipe": recipe_of(inputs.job),
        "model": engine.shape.model_dump(mode="json"),
        "layout": layout_of(engine),
        "next_batch": next_batch,
    }


def layout_of(engine: TrainingEngine) -> dict[str, Any]:
    """What must be the same for a bit-exact resume; in another layout sums are rounded differently."""
    return {**layout_record(engine.layout), "precision": engine.precision}
