"""The pretrain step: token dataset to a GPT."""

from __future__ import annotations

from pathlib import Path

from jobs.job import Job
from jobs.launching import Launching
from jobs.recipe import Recipe
from jobs.run_directory import RunDirectory
from jobs.terminal import done, headline
from jobs.training import train
from pipeline import storage
from pipeline.errors import UserError
from trainer.checkpoint.directory import step_of
from trainer.job import TrainingJob


def pretrain(job: Job) -> None:
    """Train the model, continue training it, or find it trained."""
    from pipeline.tokens.format import read_tokens_manifest

    recipe = job.recipe
    assert recipe.pretrain is not None
    headline("pretrain", f"ZeRO-{recipe.pretrain.zero}, batches of {recipe.pretrain.global_batch_tokens:,} tokens")
    manifest = train(job, pretraining_job(recipe, job.run, job.launching))
    bits = manifest.get("bits_per_byte")
    gzip = read_tokens_manifest(job.run.tokens)["baselines"]["validation_gzip9_bits_per_byte"]
    done(
        "pretrain",
        f"{manifest['parameters']:,} parameters, validation loss {manifest['validation_loss']:.4f}, "
        f"{bits:.3f} bits per byte (gzip -9: {gzip:.3f})",
    )
    job.run.event("pretrain", bits_per_byte=bits, gzip_bits_per_byte=gzip)


def pretraining_job(recipe: Recipe, run: RunDirectory, launching: Launching) -> TrainingJob:
    """What the training processes are told.

    Raises:
        UserError: the run is in no file system, or `init_from` names no finished model.
    """
    settings = recipe.pretrain
    assert settings is not None
    if launching.restarts is not None:
        watch = settings.watch.model_copy(update={"restarts": launching.restarts})
        settings = settings.model_copy(update={"watch": watch})
    return TrainingJob(
        kind="pretrain",
        directory=local_directory(run.pretrain),
        tokens=Path(run.tokens),
        tokenizer=Path(run.tokenizer) / "tokenizer.json",
        context_length=recipe.tokens.context_length if recipe.tokens else None,
        model=recipe.model,
        settings=settings,
        initial_weights=None if settings.init_from is None else model_directory(settings.init_from),
        seed=recipe.seed,
        allow=launching.allow,
    )


def model_directory(place: str) -> Path:
    """What `init_from` means: a finished model, that of a training directory or of a run, or a checkpoint.

    Raises:
        UserError: there is none.
    """
    start = local_directory(storage.absolute(place))
    for candidate in (start, start / "model", start / "pretrain" / "model"):
        if (candidate / "model.json").exists():
            return candidate
    if step_of(start.name) is not None and start.is_dir():
        return start
    raise UserError(
        f"pretrain.init_from: {place} holds no finished model: give a finished run, its `pretrain` or `model` folder, "
        "or a checkpoint such as pretrain/checkpoints/step_00001000"
    )


def local_directory(url: str) -> Path:
    """The path of a training directory.

    Raises:
        UserError: it is no path of this machine: checkpoints need a file system.
    """
    if not storage.is_local(url):
        raise UserError(f"{url}: training needs a `run:` on a file system (local, NFS, Lustre), not an object store")
    return storage.local_path(url)
