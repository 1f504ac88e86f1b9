"""Find the newest whole checkpoint, prove that it belongs to this run, and take up its state.

Verified before the first step: every file's checksum, the identity of the run (settings, model, data, tokenizer), the
layout, and the hash of the next batch, which shows that the data goes on where it stopped. A damaged checkpoint is
named and the one before it is used; a whole one of another run is an error, since going on would mix two runs.
"""

from collections.abc import Callable
from pathlib import Path

from pipeline.errors import UserError
from trainer.checkpoint import directory as on_disk
from trainer.checkpoint.save import NATIVE, Progress, layout_of
from trainer.engine import TrainingEngine
from trainer.identity import Inputs, differences
from trainer.ranks import Ranks


def load_checkpoint(
    checkpoints: Path,
    engine: TrainingEngine,
    ranks: Ranks,
    inputs: Inputs,
    digest_of_step: Callable[[int], str],
    warn: Callable[[str], None],
) -> Progress | None:
    """The progress of the newest whole checkpoint, taken up by the engine; None when there is none.

    Every process must call it. `digest_of_step` hashes the data of a step. Raises UserError when the checkpoint is of
    another run or layout, or when all are damaged.
    """
    found: tuple[str, str | None] = ("", None)
    if ranks.is_first:
        found = _choose(checkpoints, engine, inputs, digest_of_step, warn)
    error, name = ranks.from_first(found)
    if error:
        raise UserError(error)
    if name is None:
        return None
    path = checkpoints / name
    loaded, _ = engine.deepspeed.load_checkpoint(str(path), tag=NATIVE, load_lr_scheduler_states=False)
    if loaded is None:
        raise UserError(f"{path} could not be read by DeepSpeed: remove it to go on from the checkpoint before")
    state = on_disk.read_state(path)
    if engine.deepspeed.global_steps != state["step"]:
        raise UserError(f"{path} holds step {engine.deepspeed.global_steps}, its name says {state['step']}: remove it")
    return Progress(step=state["step"], tokens=state["tokens"], seconds=state["seconds"])


def _choose(
    checkpoints: Path,
    engine: TrainingEngine,
    inputs: Inputs,
    digest_of_step: Callable[[int], str],
    warn: Callable[[str], None],
) -> tuple[str, str | None]:
    """What stands against resuming ("" for nothing), and the name of the checkpoint to load."""
    candidates = on_disk.list_checkpoints(checkpoints)
    for path in candidates:
        problem = on_disk.damage(path)
        if problem is None:
            return _mismatch(path, engine, inputs, digest_of_step), path.name
        warn(f"checkpoint {path} is damaged ({problem}): using the one before it")
    if candidates:
        return f"all checkpoints in {checkpoints} are damaged: remove the directory to start from the beginning", None
    return "", None


def _mismatch(path: Path, engine: TrainingEngine, inputs: Inputs, digest_of_step: Callable[[int], str]) -> str:
    state = on_disk.read_state(path)
    if changed := differences(state["identity"], inputs.identity):
        return (
            f"{path} was made with other settings: {'; '.join(changed)}. Set them back, "
            f"or remove {path.parent} to start from the beginning"
        )
    if changed := differences(state["layout"], layout_of(engine)):
        return (
            f"{path} was made in another layout: {'; '.join(changed)}. This version resumes in the same layout only: "
            "set these back"
        )
    if digest_of_step(state["step"]) != state["next_batch"]:
        return f"{path}: the data of step {state['step']} is not what it was: the data changed, start a new run"
    return ""
