"""What the next start of a job does with what its directory holds.

Decided here for both who act by it (`trainer.launch`) and who only tell it (`--dry-run`): read from the manifest and
trainer.json alone, without torch. Of a checkpoint names and sizes are compared, not the contents: the processes read
those when they load, and take the one before it when they find damage.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import UserError
from pipeline.shard import fingerprint
from trainer.changes import Change, changes, check_words, require_allowed
from trainer.checkpoint.directory import all_damaged, list_checkpoints, read_state, why_not_this_version
from trainer.checkpoint.seal import damage
from trainer.checkpoint.weights import is_checkpoint
from trainer.data.mixture import MixturePlan
from trainer.data.token_dataset import TRAIN, require_tokenizer, tokenizer_fingerprint
from trainer.identity import DataFacts, derive, find_data
from trainer.initial_weights import weights_fingerprint
from trainer.job import TrainingJob
from trainer.manifest import CHECKPOINTS, MODEL, place_aside, read_manifest


@dataclass(frozen=True)
class NextStart:
    """What a start does."""

    kind: Literal["nothing", "begin", "continue"]
    """Nothing: this very run is finished."""
    steps: int
    """Of the whole run."""
    step: int = 0
    """After which it goes on."""
    checkpoint: Path | None = None
    """What it goes on from."""
    changes: tuple[Change, ...] = ()
    """Between what is there (the checkpoint, or the finished run put aside) and the recipe; all of them allowed."""
    aside: Path | None = None
    """Where a finished run of other settings goes first: its model alone when `continue`, else all of it."""
    damaged: tuple[str, ...] = ()
    """What is wrong with the checkpoints that are newer than the chosen one, or with all."""


def next_start(
    job: TrainingJob, identity: Mapping[str, Any], steps: int, not_compared: Collection[str] = ()
) -> NextStart:
    """Decide it; changes nothing.

    Args:
        job: The run.
        identity: Of the run as it would be now.
        steps: Of the run as it would be now.
        not_compared: Names of the identity that are not known yet: taken to be as they were.

    Raises:
        SettingError: a word of `allow` names no setting.
        UserError: the newest checkpoint cannot be continued with this recipe.
    """
    manifest = read_manifest(job.directory)
    superseded: dict[str, Any] | None = None
    if manifest is not None:
        now = _with_saved(identity, manifest.get("identity", {}), not_compared)
        if manifest["fingerprint"] != fingerprint(now):
            superseded = manifest
        elif (job.directory / MODEL / "weights.safetensors").exists():
            return NextStart("nothing", steps, steps)
    check_words(job.allow, identity)
    aside = None if superseded is None else place_aside(job.directory, superseded)
    if superseded is not None and not job.allow:
        now = _with_saved(identity, superseded.get("identity", {}), not_compared)
        return NextStart("begin", steps, 0, None, _of_identities(superseded.get("identity", {}), now, job), aside)
    damaged = []
    for path in list_checkpoints(job.directory / CHECKPOINTS):
        if problem := damage(path, only=()):
            damaged.append(f"{path} is damaged ({problem})")
            continue
        try:
            state = read_state(path)
            if problem := why_not_this_version(path, state):
                raise UserError(problem)
            done = int(state["step"])
            now = _with_saved(identity, state["identity"], not_compared)
            found = changes(state["identity"], state.get("recipe", {}), now, job)
        except (OSError, ValueError, KeyError, TypeError) as fault:
            damaged.append(f"{path} is damaged (trainer.json: {fault!r})")
            continue
        require_allowed(found, job.allow, str(path))
        if done > steps:
            raise UserError(
                f"{path} is after step {done}, the run of this recipe ends after {steps}: set its length to {done} "
                "steps or more, or start a new run in another `run:` directory"
            )
        return NextStart("continue", steps, done, path, tuple(found), aside, tuple(damaged))
    return NextStart("begin", steps, 0, None, (), aside, tuple(damaged))


def foresee(job: TrainingJob, data_may_change: bool = False) -> NextStart | None:
    """What a start will do, from manifests alone: the data is not opened, no large file is hashed.

    The fingerprint of a finished model to start from would be such a hash: it is taken to be as it was, and so are data
    and tokenizer with `data_may_change`. None: that data is still to be made, or made otherwise.

    Raises:
        SettingError, UserError: as `next_start`; the data is not there or does not fit; all checkpoints are damaged.
    """
    weights: str | None = None
    not_compared = {"data", "tokenizer"} if data_may_change else set()
    try:
        if job.initial_weights is not None:
            if is_checkpoint(job.initial_weights):
                weights = weights_fingerprint(job.initial_weights)
            else:
                not_compared.add("initial_weights")
        derived = derive(job, *_facts(job), weights)
    except UserError:
        if data_may_change:
            return None
        raise
    found = next_start(job, derived.identity, derived.steps, not_compared)
    if found.damaged and found.checkpoint is None:
        raise all_damaged(job.directory / CHECKPOINTS)
    return found


def _facts(job: TrainingJob) -> tuple[DataFacts, MixturePlan | None]:
    if job.kind == "finetune":
        from trainer.finetune.dataset import read_manifest as read_conversations  # only what finetuning needs

        manifest = read_conversations(job.tokens)
        return DataFacts(
            int(manifest["splits"]["train"]["rows"]),
            int(manifest["context_length"]),
            int(manifest["vocab_size"]),
            str(manifest["fingerprint"]),
            str(manifest["tokenizer_fingerprint"]),
        ), None
    data = find_data(job)
    first = data.datasets[0]
    rows = sum(int(dataset.split(TRAIN)["rows"]) for dataset in data.datasets)
    tokenizer = tokenizer_fingerprint(job.tokenizer)
    for dataset in data.datasets:
        require_tokenizer(dataset, job.tokenizer, tokenizer)
    facts = DataFacts(rows, first.context_length, int(first.manifest["vocab_size"]), data.fingerprint, tokenizer)
    return facts, data.plan


def _of_identities(before: Mapping[str, Any], now: Mapping[str, Any], job: TrainingJob) -> tuple[Change, ...]:
    """Changes of what is learned; of the harmless ones a manifest says nothing."""
    return tuple(changes(before, {}, now, job))


def _with_saved(identity: Mapping[str, Any], saved: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {**identity, **{name: saved[name] for name in names if name in saved}}
