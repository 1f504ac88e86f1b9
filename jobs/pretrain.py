"""The pretrain step: token dataset to a GPT."""

from __future__ import annotations

from pathlib import Path

from jobs.job import Job
from jobs.terminal import done, headline
from jobs.training import train
from pipeline import storage
from pipeline.errors import UserError
from trainer.job import TrainingJob


def pretrain(job: Job) -> None:
    """Train the model, continue training it, or find it trained."""
    from pipeline.tokens.format import read_tokens_manifest

    recipe = job.recipe
    assert recipe.pretrain is not None
    headline("pretrain", f"ZeRO-{recipe.pretrain.zero}, batches of {recipe.pretrain.global_batch_tokens:,} tokens")
    manifest = train(
        job,
        TrainingJob(
            kind="pretrain",
            directory=local_directory(job.run.pretrain),
            tokens=Path(job.run.tokens),
            tokenizer=Path(job.run.tokenizer) / "tokenizer.json",
            context_length=recipe.tokens.context_length if recipe.tokens else None,
            model=recipe.model,
            settings=recipe.pretrain,
            seed=recipe.seed,
        ),
    )
    bits = manifest.get("bits_per_byte")
    gzip = read_tokens_manifest(job.run.tokens)["baselines"]["validation_gzip9_bits_per_byte"]
    done(
        "pretrain",
        f"{manifest['parameters']:,} parameters, validation loss {manifest['validation_loss']:.4f}, "
        f"{bits:.3f} bits per byte (gzip -9: {gzip:.3f})",
    )
    job.run.event("pretrain", bits_per_byte=bits, gzip_bits_per_byte=gzip)


def local_directory(url: str) -> Path:
    """The path of a training directory.

    Raises:
        UserError: it is no path of this machine: checkpoints need a file system.
    """
    if not storage.is_local(url):
        raise UserError(f"{url}: training needs a `run:` on a file system (local, NFS, Lustre), not an object store")
    return storage.local_path(url)
