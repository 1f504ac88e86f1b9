"""The tokens step: clean documents and tokenizer to the token dataset."""

from __future__ import annotations

from typing import Any

from jobs.job import Job
from jobs.terminal import done, headline, note, show_table, shown, size
from pipeline.corpus import open_corpus
from pipeline.tokens.settings import TokensSettings


def make_tokens(job: Job) -> None:
    """Write the token dataset, or find it written for this corpus and tokenizer."""
    from pipeline.tokens.format import describe
    from pipeline.tokens.write import write_tokens

    settings = job.recipe.tokens
    assert settings is not None
    headline("tokens", f"{packing_of(settings)}, {settings.validation_fraction:.1%} for validation")
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
                f"{entry['text_bytes'] / max(1, entry['tokens']):.2f}",
            )
            for entry in describe(manifest)
        ]
        show_table("", ("split", "source", "documents", "tokens", "text", "bytes per token"), rows)
        note(f"places for training tokens: {unused_of(splits['train'])}")
        if written := sum(manifest["special_tokens_in_text"].values()):
            note(f"special tokens are written {written:,} times in the texts; there they are text like any other")
        if reason := manifest["why_not_compiled"]:
            note(f"encoded by the tokenizers library, some ten times slower than by our kernels: {reason}")
        else:
            note(f"{manifest['compared_documents']:,} documents were encoded by the tokenizers library too: equal")
    done("tokens", f"{splits['train']['target_tokens']:,} tokens to train on in {shown(job.run.tokens)}")
    job.run.event("tokens", fingerprint=manifest["fingerprint"])


def packing_of(settings: TokensSettings) -> str:
    """What rows there will be, in words."""
    order = "in an order drawn over the whole corpus" if settings.shuffle else "in the order of the corpus"
    return f"rows of {settings.context_length} tokens, packing {settings.packing}, documents {order}"


def unused_of(split: dict[str, Any]) -> str:
    """What packing did not use of a split, in words."""
    share = split["padding_tokens"] / (split["target_tokens"] + split["padding_tokens"])
    return f"{split['padding_tokens']:,} are padding ({share:.2%}); {split['lost_tokens']:,} tokens filled no row"
