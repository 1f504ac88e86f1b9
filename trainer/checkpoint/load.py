"""Take up the newest whole checkpoint, after proving that it belongs to this run.

Verified before the first step: every file's checksum, the recipe (`trainer.changes` says what may differ), model, data
and tokenizer, the number of samples and the hash of the next batch, which show that the data goes on where it stopped,
and the optimizer's count of steps. A damaged checkpoint is named and the one before it is used; a whole one of another
run is an error, since going on would mix two runs. Any layout reads what any other wrote; in the same one the run goes
on bit for bit.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from trainer.changes import Change, changes, moves_the_data, require_allowed
from trainer.checkpoint import directory as on_disk
from trainer.checkpoint.choose import choose_checkpoint
from trainer.checkpoint.reading import StateReader
from trainer.checkpoint.restore import restore
from trainer.checkpoint.save import Progress, layout_of
from trainer.checkpoint.seal import read_seal
from trainer.engine import TrainingEngine
from trainer.identity import Inputs, differences
from trainer.model.declaration import declare_parameters
from trainer.ranks import Ranks


@dataclass(frozen=True)
class Loaded:
    """What was taken up."""

    progress: Progress
    verified: str
    """What was compared, for the one line that a person reads."""


def load_checkpoint(
    checkpoints: Path,
    engine: TrainingEngine,
    ranks: Ranks,
    inputs: Inputs,
    digest_of_step: Callable[[int, dict[str, Any]], str],
    tell: Callable[[str, str], None],
    at_most: int | None = None,
) -> Loaded | None:
    """Have the engine take up the newest whole checkpoint of at most so many steps; None when there is none.

    Every process must call it. `digest_of_step` hashes the data of a step. Where the folder is empty the copies are
    looked at. Raises UserError when the checkpoint is of another run, or when all are damaged.
    """

    def warn(message: str) -> None:
        tell("warning", message)

    path = choose_checkpoint(checkpoints, ranks, warn, inputs.job.settings.checkpoint_copy, at_most)
    if path is None:
        return None
    found = _compare(path, engine, inputs, digest_of_step, tell) if ranks.is_first else None
    problem, same_data = ranks.from_first(found)
    if problem:
        raise UserError(problem)
    state = on_disk.read_state(path)
    _agree(ranks, _fill(path, engine))
    engine.finish_loading(state["optimizer_steps"])
    engine.load_scaler_state(state["loss_scale"])
    progress = Progress(
        step=state["step"], tokens=state["tokens"], seconds=state["seconds"], loop_state=state["loop_state"]
    )
    files = read_seal(path)["files"].values()
    verified = [
        f"{len(files)} files ({sum(file['size'] for file in files) / 1e6:,.1f} MB) by SHA-256",
        "recipe, model, data, tokenizer",
        f"{state['samples']:,} samples and the hash of the next batch" if same_data else "",
        f"{engine.optimizer_steps:,} steps of the optimizer",
        "random numbers drawn from seed and step",
    ]
    return Loaded(progress, "; ".join(part for part in verified if part))


def compare_recipes(
    path: Path,
    state: dict[str, Any],
    inputs: Inputs,
    tell: Callable[[str, str], None],
    told_elsewhere: Collection[str] = (),
) -> list[Change]:
    """Tell what differs between the recipe that a checkpoint was made with and that of the job, but for some names.

    Raises:
        UserError: it cannot be continued with this recipe, or that was not allowed.
    """
    found = changes(state["identity"], state.get("recipe", {}), inputs.identity, inputs.job)
    learned = require_allowed(found, inputs.job.allow, str(path))
    if harmless := [change for change in found if change.kind == "harmless" and change.name not in told_elsewhere]:
        tell("changed", f"harmless changes of the recipe: {'; '.join(f'{item} ({item.meaning})' for item in harmless)}")
    if learned:
        told = "; ".join(f"{item} ({item.meaning})" for item in learned)
        tell("allowed", f"from step {state['step'] + 1} on, as allowed: {told}")
    return found


def _compare(
    path: Path,
    engine: TrainingEngine,
    inputs: Inputs,
    digest_of_step: Callable[[int, dict[str, Any]], str],
    tell: Callable[[str, str], None],
) -> tuple[str | None, bool]:
    """What stands against going on from a checkpoint, and whether its data could be compared."""
    state = on_disk.read_state(path)
    if problem := on_disk.why_not_this_version(path, state):
        return problem, False
    before, now = state["layout"], layout_of(engine)
    of_layout = [f"settings.{name}" for name in {*before, *now} if before.get(name) != now.get(name)]
    try:
        found = compare_recipes(path, state, inputs, tell, of_layout)
    except UserError as error:
        return str(error), False
    step = state["step"]
    same_data = not moves_the_data(found)
    if same_data:
        if (samples := inputs.batches.samples_before(step)) != state["samples"]:
            return f"{path} has seen {state['samples']} samples, step {step} of this run follows {samples}", False
        if digest_of_step(step, state["loop_state"]) != state["next_batch"]:
            return f"{path}: the data of step {step} is not what it was: the data changed, start a new run", False
    if changed := differences(before, now):
        tell("changed", f"another layout, read as it is: {'; '.join(changed)}; sums are rounded differently from here")
    return None, same_data


def _fill(path: Path, engine: TrainingEngine) -> str | None:
    """Fill this process's state; why that cannot be, or None."""
    try:
        with StateReader(path) as reader:
            restore(reader, engine.state_pieces(for_saving=False), declare_parameters(engine.shape))
    except (UserError, ValueError, OSError) as fault:
        return str(fault)
    return None


def _agree(ranks: Ranks, problem: str | None) -> None:
    """Raise on all processes what went wrong on some, so that none waits for the others."""
    found = [one for one in ranks.from_all(problem) if one]
    if found:
        raise UserError("; ".join(dict.fromkeys(found)))
