"""`gptmill explain`: a document's whole way through a run."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from jobs.run_directory import RunDirectory
from pipeline.explain import explain


def explain_document(name: str, document: str) -> None:
    """Print what each pass did with the document."""
    out = Console(highlight=False, soft_wrap=True)
    for sighting in explain(RunDirectory(name).corpus, document):
        place = f"{sighting.directory}/{sighting.shard}"
        if sighting.outcome == "kept":
            change = "changed and kept" if sighting.changed else "kept"
            out.print(f"[green]{change}[/green] by {', '.join(sighting.stages) or 'read'}  [dim]{place}[/dim]")
        else:
            reason = f"{sighting.rule} = {sighting.value}" if sighting.value is not None else f"{sighting.rule}"
            limit = f", limit {sighting.threshold}" if sighting.threshold is not None else ""
            copy = f", a copy of {sighting.kept_id}" if sighting.kept_id else ""
            alike = f" (similarity {sighting.similarity:.2f})" if sighting.similarity is not None else ""
            line = f"by {sighting.stage}: {reason}{limit}{copy}{alike}"
            out.print(f"[red]dropped[/red] {escape(line)}  [dim]{place}[/dim]")
        out.print(f"  [dim]{sighting.text_bytes:,} bytes: {escape(' '.join(sighting.excerpt.split()))}[/dim]")
