"""Arguments and options that several commands take, each written once."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="Path of a recipe, or the name of a shipped one.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as pretrain.optimizer.lr=3e-4.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Directory of a run, such as runs/quickstart.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, do nothing.")]
Devices = Annotated[
    int | None, typer.Option(min=1, help="Plan for so many devices, one process each. None: this machine.")
]
DeviceName = Annotated[str | None, typer.Option("--device", help="Plan for this device, such as h100 or a100-80gb.")]
Utilisation = Annotated[
    float | None, typer.Option(min=0.01, max=1.0, help="Part of its peak that the time is reckoned with; else 0.4.")
]
LauncherName = Annotated[
    Literal["embedded", "torchrun", "deepspeed", "slurm", "ray"] | None,
    typer.Option(help="Who starts the processes. None: torchrun, deepspeed or srun if they started this, else us."),
]
Restarts = Annotated[
    int | None, typer.Option(min=0, help="Start again so often after a failure, from the last good checkpoint.")
]
Allowed = Annotated[
    str | None,
    typer.Option(
        "--allow", help="Settings that may differ from the checkpoint's: `lr,schedule`, or `all`. It is recorded."
    ),
]
PrintCommand = Annotated[
    bool, typer.Option("--print-command", help="Print the command, or the sbatch file, of --launcher; do nothing.")
]
Nodes = Annotated[int, typer.Option(min=1, help="Machines, for --print-command.")]
ProcessesPerNode = Annotated[
    int | None, typer.Option(min=1, help="Processes of each machine, for --print-command. None: as many as here.")
]
