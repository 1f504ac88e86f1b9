"""The tokens step: clean documents and tokenizer to the token dataset."""

from __future__ import annotations

from jobs.job import Job
from jobs.terminal import done, headline, show_table, size
from pipeline.corpus import open_corpus


def make_tokens(job: Job) -> None:
    """Write the token dataset, or find it written for this corpus and tokenizer."""
    from pipeline.tokens import write_tokens

    settings = job.recipe.tokens
    assert settings is not None
    headline("tokens", f"rows of {settings.context_length} tokens, {settings.validation_fraction:.1%} for validation")
    before = job.engine.tasks_done
    manifest = write_tokens(settings, open_corpus(job.run.corpus), job.run.tokenizer, job.run.tokens, job.engine)
    splits = manifest["splits"]
    if job.engine.tasks_done > before:
        rows = [
            (name, f"{split['rows']:,}", f"{split['target_tokens']:,}", size(split["text_bytes"]))
            for name, split in splits.items()
        ]
        show_table("", ("split", "rows", "tokens", "text"), rows)
    done("tokens", f"{splits['train']['target_tokens']:,} tokens to train on in {job.run.tokens}")
    job.run.event("tokens", fingerprint=manifest["fingerprint"])
