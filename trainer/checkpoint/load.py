"""Find the newest whole checkpoint, prove that it belongs to this run, and take up its state.

Verified before the first step: every file's checksum, the identity of the run (settings, model, data, tokenizer), the
layout, and the hash of the next batch, which shows that the data goes on where it stopped. A damaged checkpoint is
named and the one before it is used; a whole one of another run is an error, since going on would mix two runs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from trainer.changes import Change, changes, moves_the_data, require_allowed
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
    digest_of_step: Callable[[int, dict[str, Any]], str],
    tell: Callable[[str, str], None],
    at_most: int | None = None,
) -> Progress | None:
    """The progress of the newest whole checkpoint of at most so many steps, taken up by the engine; None when there is
    none.

    Every process must call it. `digest_of_step` hashes the data of a step. Raises UserError when the checkpoint is of
    another run or layout, or when all are damaged.
    """
    found: tuple[str, str | None] = ("", None)
    if ranks.is_first:
        found = _choose(checkpoints, engine, inputs, digest_of_step, tell, at_most)
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
    return Progress(
        step=state["step"], tokens=state["tokens"], seconds=state["seconds"], loop_state=state["loop_state"]
    )


def _choose(
    checkpoints: Path,
    engine: TrainingEngine,
    inputs: Inputs,
    digest_of_step: Callable[[int, dict[str, Any]], str],
    tell: Callable[[str, str], None],
    at_most: int | None,
) -> tuple[str, str | None]:
    """What stands against resuming ("" for nothing), and the name of the checkpoint to load."""
    candidates = on_disk.list_checkpoints(checkpoints)
    if at_most is not None:
        candidates = [path for path in candidates if path.name <= on_disk.checkpoint_name(at_most)]
    for path in candidates:
        problem = on_disk.damage(path)
        if problem is None:
            return _mismatch(path, engine, inputs, digest_of_step, tell), path.name
        tell("warning", f"checkpoint {path} is damaged ({problem}): using the one before it")
    if candidates:
        return f"all checkpoints in {checkpoints} are damaged: remove the directory to start from the beginning", None
    return "", None


def _mismatch(
    path: Path,
    engine: TrainingEngine,
    inputs: Inputs,
    digest_of_step: Callable[[int, dict[str, Any]], str],
    tell: Callable[[str, str], None],
) -> str:
    state = on_disk.read_state(path)
    try:
        found = compare_recipes(path, state, inputs, tell)
    except UserError as error:
        return str(error)
    if changed := differences(state["layout"], layout_of(engine)):
        return (
            f"{path} was made in another layout: {'; '.join(changed)}. This version resumes in the same layout only: "
            "set these back"
        )
    if not moves_the_data(found) and digest_of_step(state["step"], state["loop_state"]) != state["next_batch"]:
        return f"{path}: the data of step {state['step']} is not what it was: the data changed, start a new run"
    return ""


def compare_recipes(
    path: Path, state: dict[str, Any], inputs: Inputs, tell: Callable[[str, str], None]
) -> list[Change]:
    """Tell what differs between the recipe that a checkpoint was made with and that of the job.

    Raises:
        UserError: it cannot be continued with this recipe, or that was not allowed.
    """
    found = changes(state["identity"], state.get("recipe", {}), inputs.identity, inputs.job)
    learned = require_allowed(found, inputs.job.allow, str(path))
    if harmless := [change for change in found if change.kind == "harmless"]:
        tell("changed", f"harmless changes of the recipe: {'; '.join(f'{item} ({item.meaning})' for item in harmless)}")
    if learned:
        tell("allowed", f"from step {state['step'] + 1} on, as allowed: {'; '.join(str(item) for item in learned)}")
    return found
