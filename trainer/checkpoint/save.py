"""All processes write their part of a checkpoint; the first one makes it whole.

There is no random state to save: data order, initial weights and dropout are functions of (seed, step), so the step
is the whole cursor. Training waits until the files are on disk.
"""

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline import storage
from trainer.changes import recipe_of
from trainer.checkpoint import directory as on_disk
from trainer.engine import TrainingEngine
from trainer.identity import Inputs
from trainer.ranks import Ranks

FORMAT_VERSION = 1
NATIVE = "deepspeed"


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


def save_checkpoint(
    checkpoints: Path, engine: TrainingEngine, ranks: Ranks, inputs: Inputs, progress: Progress, next_batch: str
) -> Path:
    """Write the state after `progress.step` steps and return its directory; every process must call it.

    `next_batch` is the hash of the data of the step to come, compared when the checkpoint is loaded.
    """
    temporary = on_disk.temporary_directory(checkpoints, progress.step)
    if ranks.is_first:
        checkpoints.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
    ranks.barrier()
    engine.deepspeed.save_checkpoint(str(temporary), tag=NATIVE, save_latest=False)
    ranks.barrier()
    if ranks.is_first:
        storage.write_json(
            str(temporary / on_disk.STATE),
            {
                "format_version": FORMAT_VERSION,
                **asdict(progress),
                "samples": inputs.batches.samples_before(progress.step),
                "identity": inputs.identity,
                "recipe": recipe_of(inputs.job),
                "layout": layout_of(engine),
                "next_batch": next_batch,
            },
        )
        for script in temporary.glob("zero_to_*.py"):  # DeepSpeed's converters expect its own `latest`
            script.unlink()
        on_disk.publish(temporary, progress.step)
        on_disk.prune(checkpoints, inputs.job.settings.keep_last, newest=progress.step)
    ranks.barrier()
    return checkpoints / on_disk.checkpoint_name(progress.step)


def layout_of(engine: TrainingEngine) -> dict[str, Any]:
    """What must be the same for a bit-exact resume, and for DeepSpeed to read its own files."""
    layout = engine.layout
    return {
        "parallel.data": layout.data,
        "parallel.tensor": layout.tensor,
        "parallel.pipeline": layout.pipeline,
        "zero": layout.zero,
        "precision": engine.precision,
    }
