"""The commands that look after checkpoints."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.options import RunName


def checkpoints(
    run: RunName,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and compare its checksum.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove old ones first; permanent ones stay.")] = False,
    keep: Annotated[
        int | None, typer.Option(min=1, help="How many --prune leaves; else the recipe's keep_last.")
    ] = None,
) -> None:
    """List a run's checkpoints: step, size, layout, and whether they are whole; exit code 1 when one is damaged."""
    from jobs.checkpoints import show_checkpoints

    raise typer.Exit(show_checkpoints(run, verify, prune, keep))


def reshape(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint, or a run: its newest one.")],
    parallel: Annotated[str, typer.Option(help="The new layout: data=2,tensor=1,pipeline=2; what is left out is 1.")],
    zero: Annotated[int, typer.Option(min=0, max=3, help="The ZeRO stage to share each part out for.")] = 1,
    output: Annotated[str | None, typer.Option(help="Folder of checkpoints to write to; else one beside.")] = None,
) -> None:
    """Write a checkpoint for another layout and prove by hashes that no tensor changed.

    Resuming does not need it: a run goes on from any checkpoint in any layout.
    """
    from jobs.checkpoints import reshape_checkpoint

    reshape_checkpoint(checkpoint, parallel, zero, output)
