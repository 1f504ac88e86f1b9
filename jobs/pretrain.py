"""The pretrain step: token dataset to a GPT."""

from __future__ import annotations

from pathlib import Path

from jobs.job import Job
from jobs.launching import Launching
from jobs.recipe import Recipe
from jobs.run_directory import RunDirectory
from jobs.start_training import take_part
from jobs.terminal import done, headline
from jobs.training import train
from pipeline import storage
from pipeline.errors import UserError
from trainer.checkpoint.directory import step_of
from trainer.job import TrainingJob


def pretrain(job: Job) -> None:
    """Train the model, continue training it, or find it trained."""
    recipe = job.recipe
    assert recipe.pretrain is not None
    headline("pretrain", f"ZeRO-{recipe.pretrain.zero}, batches of {recipe.pretrain.global_batch_tokens:,} tokens")
    manifest = train(job, pretraining_job(recipe, job.run, job.launching))
    bits, gzip = manifest["bits_per_byte"], gzip_bits_per_byte(job.run.tokens)
    line = f"{manifest['parameters']:,} parameters, validation loss {manifest['validation_loss']:.4f}"
    if bits is not None:
        line += f", {bits:.3f} bits per byte" + (f" (gzip -9: {gzip:.3f})" if gzip is not None else "")
    done("pretrain", line)
    job.run.event("pretrain", bits_per_byte=bits, gzip_bits_per_byte=gzip)


def take_part_in_pretraining(recipe: Recipe, launching: Launching) -> None:
    """Be one of the run's processes, not the first, which alone holds the run directory."""
    take_part(pretraining_job(recipe, RunDirectory(recipe.run), launching), launching)


def gzip_bits_per_byte(tokens: str) -> float | None:
    """What gzip -9 needs for the validation text of the run's own token dataset; None where there is none, or where
    whoever wrote it did not measure that."""
    from pipeline.tokens.format import MANIFEST, read_tokens_manifest

    if not storage.exists(storage.join(tokens, MANIFEST)):
        return None
    bits: float | None = read_tokens_manifest(tokens).get("baselines", {}).get("validation_gzip9_bits_per_byte")
    return bits


def pretraining_job(recipe: Recipe, run: RunDirectory, launching: Launching) -> TrainingJob:
    """What the training processes are told.

    Raises:
        UserError: the run is in no file system, or `init_from` names no finished model.
    """
    settings = recipe.pretrain
    assert settings is not None
    return TrainingJob(
        kind="pretrain",
        directory=local_directory(run.pretrain),
        tokens=Path(run.tokens),
        tokenizer=Path(run.tokenizer) / "tokenizer.json",
        context_length=recipe.tokens.context_length if recipe.tokens else None,
        model=recipe.model,
        settings=launching.applied(settings),
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
