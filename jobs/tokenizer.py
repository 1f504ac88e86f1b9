"""The tokenizer step: clean documents to a BPE tokenizer."""

from __future__ import annotations

from jobs.job import Job
from jobs.terminal import done, headline, note, shown, size
from pipeline.corpus import open_corpus


def make_tokenizer(job: Job) -> None:
    """Train the tokenizer, or find it trained for this corpus."""
    from pipeline.tokenizer.train import train_tokenizer

    settings = job.recipe.tokenizer
    assert settings is not None
    headline("tokenizer", f"{settings.vocab_size:,} tokens, {settings.pre_tokenization} pre-tokenization")
    manifest = train_tokenizer(settings, open_corpus(job.run.corpus), job.run.tokenizer, job.engine)
    training = manifest["training"]
    if training["long_pieces"]:
        note(
            f"{training['long_pieces']:,} pieces longer than tokenizer.max_piece_bytes were left out of the training, "
            f"{size(training['long_piece_bytes'])} of {size(training['text_bytes'])}"
        )
    done("tokenizer", f"{manifest['vocab_size']:,} tokens in {shown(job.run.tokenizer)}")
    job.run.event("tokenizer", fingerprint=manifest["fingerprint"])
