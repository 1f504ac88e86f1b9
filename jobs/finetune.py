"""The finetune step: conversations (given, or made from the corpus) to an instruction-tuned GPT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs.job import Job
from jobs.launching import Launching
from jobs.pretrain import local_directory
from jobs.recipe import Recipe
from jobs.run_directory import RunDirectory
from jobs.start_training import take_part
from jobs.terminal import done, headline, shown
from jobs.training import train
from pipeline import storage
from pipeline.corpus import open_corpus
from pipeline.errors import Interrupted, UserError
from trainer.job import TrainingJob


def make_questions(job: Job) -> None:
    """Make question and answer pairs from the finished corpus, or find them made."""
    from pipeline.instructions.python_docs import write_questions

    assert job.recipe.questions is not None
    manifest = write_questions(open_corpus(job.run.corpus), job.run.instructions, job.recipe.questions)
    done("questions", f"{manifest['conversations']:,} question and answer pairs in {shown(job.run.instructions)}")


def finetune(job: Job) -> None:
    """Tune the pretrained model on conversations, or find it tuned."""
    settings = job.recipe.finetune
    assert settings is not None
    training = finetuning_job(job.recipe, job.run, job.launching)
    rows = _prepare(job, training)
    if job.stop.pending:
        raise Interrupted("stopped on request before the training: the same command continues")
    job.let_others_go_on()
    manifest = train(job, training)
    done(
        "finetune",
        f"{rows['splits']['train']['rows']:,} conversations, validation loss {manifest['validation_loss']:.4f}",
    )
    job.run.event("finetune", validation_loss=manifest["validation_loss"])


def take_part_in_finetuning(recipe: Recipe, launching: Launching) -> None:
    """Be one of the run's processes, not the first, which alone prepares the conversations.

    Raises:
        UserError: the first process has failed to prepare them, or took too long.
    """
    from trainer.launch.first import wait_for_first

    training = finetuning_job(recipe, RunDirectory(recipe.run), launching)
    asked = wait_for_first(launching.launcher, training.settings)
    take_part(training, launching, asked)


def finetuning_job(recipe: Recipe, run: RunDirectory, launching: Launching) -> TrainingJob:
    """What the training processes are told.

    Raises:
        UserError: the run is in no file system.
    """
    assert recipe.finetune is not None
    directory = local_directory(run.finetune)
    return TrainingJob(
        kind="finetune",
        directory=directory,
        tokens=directory / "data",
        tokenizer=Path(run.tokenizer) / "tokenizer.json",
        settings=launching.applied(recipe.finetune),
        initial_weights=local_directory(run.pretrain) / "model",
        seed=recipe.seed,
        allow=launching.allow,
    )


def require_pretrained(training: TrainingJob) -> Path:
    """The finished model that a finetuning starts from.

    Raises:
        UserError: there is none.
    """
    pretrained = training.initial_weights
    assert pretrained is not None
    if not (pretrained / "model.json").exists():
        raise UserError(f"{pretrained.parent} holds no finished model: run `gptmill pretrain` first")
    return pretrained


def _prepare(job: Job, training: TrainingJob) -> dict[str, Any]:
    """Bring the conversations into the form that all processes read; returns the manifest of their rows."""
    from pipeline.instructions.given import write_given
    from pipeline.instructions.store import CONVERSATIONS
    from trainer.finetune.dataset import prepare_conversations

    settings, pretrained = job.recipe.finetune, require_pretrained(training)
    assert settings is not None
    headline("finetune", f"{settings.template}, batches of {settings.batch_size} conversations")
    if settings.data is not None:
        write_given(storage.absolute(settings.data), job.run.instructions, job.recipe.max_bad_fraction)
    context_length = storage.read_json(str(pretrained / "model.json"))["context_length"]
    return prepare_conversations(
        Path(job.run.instructions) / CONVERSATIONS, training.tokenizer, training.tokens, settings, context_length
    )
