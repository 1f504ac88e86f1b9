"""The finetune step: conversations (given, or made from the corpus) to an instruction-tuned GPT."""

from __future__ import annotations

from pathlib import Path

from jobs.job import Job
from jobs.pretrain import local_directory
from jobs.terminal import done, headline, shown
from jobs.training import train
from pipeline import storage
from pipeline.corpus import open_corpus
from pipeline.errors import UserError
from trainer.job import TrainingJob


def make_questions(job: Job) -> None:
    """Make question and answer pairs from the finished corpus, or find them made."""
    from pipeline.instructions.python_docs import write_questions

    assert job.recipe.questions is not None
    manifest = write_questions(open_corpus(job.run.corpus), job.run.instructions, job.recipe.questions)
    done("questions", f"{manifest['conversations']:,} question and answer pairs in {shown(job.run.instructions)}")


def finetune(job: Job) -> None:
    """Tune the pretrained model on conversations, or find it tuned."""
    from pipeline.instructions.given import write_given
    from pipeline.instructions.store import CONVERSATIONS
    from trainer.finetune.dataset import prepare_conversations

    settings = job.recipe.finetune
    assert settings is not None
    pretrained = local_directory(job.run.pretrain) / "model"
    if not (pretrained / "model.json").exists():
        raise UserError(f"{job.run.pretrain} holds no finished model: run `gptmill pretrain` first")
    headline("finetune", f"{settings.template}, batches of {settings.batch_size} conversations")
    if settings.data is not None:
        write_given(storage.absolute(settings.data), job.run.instructions, job.recipe.max_bad_fraction)
    directory = local_directory(job.run.finetune)
    tokenizer = Path(job.run.tokenizer) / "tokenizer.json"
    context_length = storage.read_json(str(pretrained / "model.json"))["context_length"]
    rows = prepare_conversations(
        Path(job.run.instructions) / CONVERSATIONS, tokenizer, directory / "data", settings, context_length
    )
    manifest = train(
        job,
        TrainingJob(
            kind="finetune",
            directory=directory,
            tokens=directory / "data",
            tokenizer=tokenizer,
            settings=settings,
            initial_weights=pretrained,
            seed=job.recipe.seed,
            allow=job.launching.allow,
        ),
    )
    done(
        "finetune",
        f"{rows['splits']['train']['rows']:,} conversations, validation loss {manifest['validation_loss']:.4f}",
    )
    job.run.event("finetune", validation_loss=manifest["validation_loss"])
