"""Prints how a training of a recipe is started by a launcher (`--print-command`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jobs.launching import Launching
from jobs.recipe import RecipeError, load_recipe
from jobs.training_plan import Target, plan_trainings, target_of
from trainer.devices import count_gpus
from trainer.launch.commands import Machines, deepspeed_command, sbatch_file, torchrun_command
from trainer.settings import TrainingSettings


def show_command(
    step: Literal["pretrain", "finetune"],
    recipe: str,
    overrides: Sequence[str],
    chosen: Launching,
    nodes: int,
    processes_per_node: int | None,
) -> None:
    """Print how to start a training of a recipe with a launcher, on so many nodes with so many processes each.

    Raises:
        RecipeError: the recipe cannot be trained on that many processes, or the launcher needs no command.
    """
    loaded = load_recipe(recipe, overrides)
    settings: TrainingSettings | None = getattr(loaded.recipe, step)
    if settings is None:
        raise RecipeError(f"the recipe has no section `{step}`: add one to do this step")
    words = [step, recipe, *overrides, "--launcher", chosen.launcher]
    if chosen.allow:
        words += ["--allow", ",".join(chosen.allow)]
    share = processes_per_node
    if share is None:
        layout = plan_trainings(loaded, [step], target_of("embedded"))[step]
        share = count_gpus() or max(1, layout.world // nodes)
    plan_trainings(loaded, [step], Target(devices=nodes * share))
    machines = Machines(nodes, share, gpus=count_gpus() > 0 or nodes * share > 2)
    if chosen.launcher == "torchrun":
        print(torchrun_command(words, machines))
    elif chosen.launcher == "deepspeed":
        print(deepspeed_command(words, machines))
    elif chosen.launcher == "slurm":
        print(sbatch_file(words, machines, settings.watch.restarts), end="")
    else:
        raise RecipeError(
            f"--print-command is for torchrun, deepspeed and slurm; with {chosen.launcher} the command itself starts "
            "the processes"
        )
