"""What a run's result depends on, and what differs between two runs.

Everything that changes the maths is in; what changes only speed, logging or safety is not, so it may be changed
between an interruption and the resume: `trainer.changes` says of each key what it is. The layout (processes, ZeRO
stage, precision) does not change the maths but the rounding; checkpoints record it beside the identity.
"""

from dataclasses import dataclass
from typing import Any

from pipeline.errors import UserError
from pipeline.shard import fingerprint
from trainer.batch_ramp import BatchRamp
from trainer.changes import NOT_IN_IDENTITY, flat
from trainer.data.batch import TrainingData
from trainer.data.mixed_rows import RunData, plan_run
from trainer.data.mixture import MixtureOrder, MixturePlan
from trainer.data.objective import with_objective
from trainer.data.order import SampleOrder
from trainer.initial_weights import compared, initial_shape, require_same_tokens, weights_fingerprint
from trainer.job import TrainingJob
from trainer.settings import ModelShape, PretrainSettings

CODE_VERSION = 1
"""Raised when the same settings give other weights than before."""


@dataclass(frozen=True)
class Inputs:
    """A job with everything that it reads opened and checked."""

    job: TrainingJob
    data: TrainingData
    shape: ModelShape
    batches: BatchRamp
    """Rows of each step."""
    steps: int
    identity: dict[str, Any]
    """Name -> value of all that the result depends on."""
    plan: MixturePlan | None = None
    """What pretraining draws from which dataset."""

    def order(self) -> SampleOrder | MixtureOrder:
        """Which rows each step sees."""
        if self.plan is None or len(self.plan.shares) == 1:
            return SampleOrder(self.data.train.rows, self.batches, self.job.seed)
        return MixtureOrder(self.plan, self.batches, self.job.seed)

    @property
    def fingerprint(self) -> str:
        """Hash of the identity."""
        return fingerprint(self.identity)


@dataclass(frozen=True)
class DataFacts:
    """What of its data a run's identity depends on; manifests alone say it."""

    rows: int
    """Of the training split."""
    context_length: int
    vocab_size: int
    fingerprint: str
    tokenizer_fingerprint: str


@dataclass(frozen=True)
class Derived:
    """What follows from a job and its data."""

    shape: ModelShape
    batches: BatchRamp
    steps: int
    identity: dict[str, Any]


def open_inputs(job: TrainingJob) -> Inputs:
    """Open and check the data, the tokenizer and the initial weights of a job; needs no torch.

    Raises UserError naming what is missing, damaged, or does not fit together.
    """
    data, plan = _open_data(job)
    if data.train.rows < 1 or data.validation.rows < 1:
        raise UserError(f"{job.tokens} has no row in one of its splits: give it more data")
    data = with_objective(data, job.settings, job.kind, job.seed)
    facts = DataFacts(
        data.train.rows, data.context_length, data.vocab_size, data.fingerprint, data.tokenizer_fingerprint
    )
    weights = None if job.initial_weights is None else weights_fingerprint(job.initial_weights)
    found = derive(job, facts, plan, weights)
    return Inputs(job, data, found.shape, found.batches, found.steps, found.identity, plan)


def derive(job: TrainingJob, data: DataFacts, plan: MixturePlan | None, weights: str | None) -> Derived:
    """Model, steps and identity of a job on such data, from initial weights of this fingerprint.

    Raises UserError when they do not fit together.
    """
    shape = _shape(job, data).model_copy(update={"prefix_decoder": job.settings.objective == "prefix"})
    try:
        batches = job.settings.batches(data.context_length)
        steps = job.settings.total_steps(data.rows, data.context_length)
    except ValueError as error:
        raise UserError(str(error)) from None
    settings = job.settings.model_dump(mode="json", exclude=set(NOT_IN_IDENTITY))
    identity = {
        "code_version": CODE_VERSION,
        "kind": job.kind,
        "seed": job.seed,
        "steps": steps,
        "rows_per_step": batches.rows_per_step,
        **flat("settings", settings),
        **flat("model", shape.model_dump(mode="json", exclude={"preset"})),
        "data": data.fingerprint,
        "tokenizer": data.tokenizer_fingerprint,
        "initial_weights": weights,
    }
    if plan is not None and len(plan.shares) > 1:
        identity |= {f"mixture.{share.name}": share.drawn for share in plan.shares}
    return Derived(shape, batches, steps, identity)


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Each differing name with both values, for the user."""
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _open_data(job: TrainingJob) -> tuple[TrainingData, MixturePlan | None]:
    if job.kind == "finetune":
        from trainer.finetune.rows import open_conversations  # only what finetuning needs

        return open_conversations(job.tokens, job.tokenizer), None
    found = find_data(job)
    return found.open(job.tokenizer, job.directory / "verified_shards.json"), found.plan


def find_data(job: TrainingJob) -> RunData:
    """What a pretraining draws from which dataset; reads manifests alone.

    Raises UserError when a dataset is not there, or they do not fit together or to the recipe.
    """
    assert isinstance(job.settings, PretrainSettings)
    found = plan_run(job.settings, str(job.tokens))
    for dataset in found.datasets:
        if job.context_length not in (None, dataset.context_length):
            raise UserError(
                f"{dataset.name} has rows of {dataset.context_length} tokens, the recipe's tokens.context_length is "
                f"{job.context_length}: run the tokens step again, or set it back"
            )
    return found


def _shape(job: TrainingJob, data: DataFacts) -> ModelShape:
    """The model's full shape, from the settings and the data, or from the initial weights."""
    start = None if job.initial_weights is None else initial_shape(job.initial_weights)
    if start is not None:
        assert job.initial_weights is not None
        is_bound = job.model is None or start.positions == "learned"
        if start.vocab_size < data.vocab_size or (is_bound and start.context_length < data.context_length):
            raise UserError(
                f"{job.initial_weights} knows {start.vocab_size} tokens and contexts of {start.context_length}, "
                f"{job.tokens} needs {data.vocab_size} and {data.context_length}: make the data for this model"
            )
        require_same_tokens(job.initial_weights, job.tokenizer, data.tokenizer_fingerprint)
    if job.model is None:
        assert start is not None
        return start
    shape = job.model.shaped(data.vocab_size, data.context_length)
    if start is not None and (changed := differences(*compared(start, shape))):
        raise UserError(f"{job.initial_weights} is another model than the recipe's ({'; '.join(changed)})")
    return shape
