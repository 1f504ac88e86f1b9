"""The commands that only look: into a run, at what a recipe may say, at this machine."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from jobs.commands.options import Overrides, RunName

inspect = typer.Typer(no_args_is_help=True, help="Look into what a run has made.")


@inspect.command("tokens")
def inspect_tokens(
    place: Annotated[str, typer.Argument(metavar="RUN_OR_FOLDER", help="A run, or a token dataset: folder or URL.")],
    rows: Annotated[int, typer.Option(min=1, help="How many rows.")] = 3,
    split: Annotated[Literal["train", "validation"], typer.Option(help="Which split.")] = "train",
    row: Annotated[int | None, typer.Option(help="Only the row of this number, from 0 on.")] = None,
    source: Annotated[str | None, typer.Option(help="Only rows that hold something of this source.")] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Each token with its id instead of the text.")] = False,
) -> None:
    """Show rows of the token dataset: texts, where documents begin, end and are cut, sources, padding."""
    from jobs.inspect import inspect_tokens as show

    show(place, rows, split, row, source, tokens)


@inspect.command("checkpoint")
def inspect_checkpoint(
    place: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, or a run: its newest one.")],
    tensors: Annotated[bool, typer.Option("--tensors", help="Every tensor with shape, norm, range and hash.")] = False,
) -> None:
    """Show of which run and step a checkpoint is, its layout, and the hash of its state."""
    from jobs.inspect_checkpoint import inspect_checkpoint as show

    raise typer.Exit(show(place, tensors))


def explain(run: RunName, document: Annotated[str, typer.Argument(help="Id of a document.")]) -> None:
    """Tell a document's whole way through a run: which stage changed or dropped it, and why."""
    from jobs.explain import explain_document

    explain_document(run, document)


def layouts(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="A recipe: which layouts it could have.")
    ] = None,
    overrides: Overrides = None,
    devices: Annotated[int | None, typer.Option(min=1, help="On so many devices. None: this machine's.")] = None,
    device: Annotated[str | None, typer.Option(help="Of this kind, such as h100: tells which fit its memory.")] = None,
) -> None:
    """List what works together in training and what is refused, and why; with a recipe, the layouts it could have."""
    from jobs.layouts import show_layouts, show_layouts_of

    if recipe is None:
        show_layouts()
    else:
        show_layouts_of(recipe, overrides or [], devices, device)


def stages() -> None:
    """List all sources and stages with their fields, from the classes themselves."""
    from jobs.stages import show_stages

    show_stages()


def doctor() -> None:
    """Look for what is broken or missing in this environment, and say how to mend it."""
    from jobs.doctor import run_doctor

    raise typer.Exit(run_doctor())
