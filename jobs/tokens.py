"""The tokens step: clean documents and tokenizer to the token dataset."""

from __future__ import annotations

from jobs.job import Job
from jobs.terminal import done, headline, note, show_table, shown, size
from pipeline.corpus import open_corpus


def make_tokens(job: Job) -> None:
    """Write the token dataset, or find it written for this corpus and tokenizer."""
    from pipeline.tokens.format import describe
    from pipeline.tokens.write import write_tokens

    settings = job.recipe.tokens
    assert settings is not None
    headline("tokens", f"rows of {settings.context_length} tokens, {settings.validation_fraction:.1%} for validation")
    before = job.engine.tasks_done
    manifest = write_tokens(settings, open_corpus(job.run.corpus), job.run.tokenizer, job.run.tokens, job.engine)
    splits = manifest["splits"]
    if job.engine.tasks_done > before:
        rows = [
            (
                entry["split"],
                entry["source"],
                f"{entry['documents']:,}",
                f"{entry['tokens']:,}",
                size(entry["text_bytes"]),
                f"{entry['tokens_per_byte']:.3f}",
            )
            for entry in describe(manifest)
        ]
        show_table("", ("split", "source", "documents", "tokens", "text", "tokens per byte"), rows)
        if reason := manifest["why_not_compiled"]:
            note(f"encoded by the tokenizers library, some ten times slower than by our kernels: {reason}")
        else:
            note(f"{manifest['compared_documents']:,} documents were encoded by the tokenizers library too: equal")
    done("tokens", f"{splits['train']['target_tokens']:,} tokens to train on in {shown(job.run.tokens)}")
    job.run.event("tokens", fingerprint=manifest["fingerprint"])
