"""What each training of a recipe would do with what its directory holds: the last part of `--dry-run`.

Reads manifests and trainer.json alone, so it is quick for a run of any size; the checksums of data and checkpoints are
compared at the start itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.launching import Launching
from jobs.recipe import Recipe
from jobs.run_directory import RunDirectory
from jobs.terminal import note, shown, warn
from jobs.training_plan import Target
from pipeline import storage
from pipeline.errors import UserError
from trainer.changes import Change, short_name
from trainer.manifest import CHECKPOINTS, MANIFEST

if TYPE_CHECKING:
    from trainer.job import TrainingJob
    from trainer.next_start import NextStart

_STEPS = ("pretrain", "finetune")


def show_next_starts(recipe: Recipe, steps: Sequence[str], target: Target, launching: Launching) -> None:
    """Print what a start of each training among `steps` will do.

    Raises:
        UserError: what the start itself would be refused for. A plan for another machine only tells that.
    """
    for step in (step for step in _STEPS if step in steps):
        try:
            found = _foreseen(recipe, step, steps, launching)
        except UserError as fault:
            if not target.is_elsewhere:
                raise
            if _has_begun(recipe, step):
                warn(f"{step}: a start here would be refused: {fault}")
            return
        if step == "pretrain" and (found is None or found.kind != "nothing") and "finetune" in steps:
            note("finetune: what it finds is compared when pretraining is finished")
            return


def _foreseen(recipe: Recipe, step: str, steps: Sequence[str], launching: Launching) -> NextStart | None:
    """What a start will do, told; None where that is open before its data is made."""
    from trainer.next_start import foresee  # with all that opens data

    job = _job(recipe, step, launching)
    makes_data = step == "finetune" or "tokens" in steps
    found = foresee(job, data_may_change=makes_data)
    if found is None:
        note(f"{step}: its data is still to be made; what a start does is decided then")
        return None
    for problem in found.damaged:
        warn(f"checkpoint {problem}")
    for line in told(step, job, found):
        note(line)
    if makes_data and found.kind != "begin":
        note("  if its data stays what it was: the steps before may make it anew")
    return found


def _has_begun(recipe: Recipe, step: str) -> bool:
    directory = storage.join(RunDirectory(recipe.run).url, step)
    return any(storage.exists(storage.join(directory, name)) for name in (MANIFEST, CHECKPOINTS))


def told(step: str, job: TrainingJob, found: NextStart) -> list[str]:
    """What a start does, in words: one line, and one more for each kind of change."""
    if found.kind == "nothing":
        return [f"{step}: finished after {found.steps:,} steps with this recipe: a start does nothing"]
    aside = None if found.aside is None else shown(str(found.aside))
    if found.kind == "begin":
        return [_beginning(step, job, found, aside)]
    assert found.checkpoint is not None
    kept = "" if aside is None else f"; the model of the finished run is put aside in {aside}"
    lines = [
        f"{step}: a start continues after step {found.step:,} of {found.steps:,} from {found.checkpoint.name}, whose "
        f"checksums are compared then{kept}"
    ]
    harmless, allowed = ([one for one in found.changes if one.kind == kind] for kind in ("harmless", "optimisation"))
    if harmless:
        lines.append(f"  harmless changes of the recipe: {_list(harmless)}")
    if allowed:
        lines.append(f"  from step {found.step + 1:,} on, as allowed: {_list(allowed)}")
    return lines


def _beginning(step: str, job: TrainingJob, found: NextStart, aside: str | None) -> str:
    begins = f"begins at the first of {found.steps:,} steps"
    if aside is not None:
        line = f"{step}: the finished run is of other settings or data ({_list(found.changes)}): a start puts it aside"
        line += f" in {aside} and {begins}"
        if found.changes and all(change.kind == "optimisation" for change in found.changes):
            names = ",".join(dict.fromkeys(short_name(change.name) for change in found.changes))
            line += f"; `--allow {names}` would continue it instead"
        return line
    if job.settings.checkpoint_copy is not None:
        return f"{step}: a start {begins}, or goes on from the newest copy in {job.settings.checkpoint_copy}"
    return f"{step}: a start {begins}"


def _list(changes: Sequence[Change]) -> str:
    return "; ".join(f"{change} ({change.meaning})" for change in changes)


def _job(recipe: Recipe, step: str, launching: Launching) -> TrainingJob:
    run = RunDirectory(recipe.run)
    if step == "pretrain":
        from jobs.pretrain import pretraining_job  # which show their course with parts of the plan

        return pretraining_job(recipe, run, launching)
    from jobs.finetune import finetuning_job, require_pretrained

    job = finetuning_job(recipe, run, launching)
    require_pretrained(job)
    return job
