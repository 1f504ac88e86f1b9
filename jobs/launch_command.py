"""Prints how a recipe's pretraining is started by a launcher (`--print-command`)."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.launching import Launching
from jobs.plan import pretraining_plan
from jobs.recipe import RecipeError, load_recipe
from jobs.training_plan import Target, plan_trainings
from trainer.devices import count_gpus
from trainer.launch.commands import Machines, deepspeed_command, sbatch_file, torchrun_command


def show_command(
    recipe: str, overrides: Sequence[str], chosen: Launching, nodes: int, processes_per_node: int | None
) -> None:
    """Print how to start a recipe's pretraining with a launcher, on so many nodes with so many processes each.

    Raises:
        RecipeError: the recipe cannot be trained on that many processes, or the launcher needs no command.
    """
    loaded = load_recipe(recipe, overrides)
    if loaded.recipe.pretrain is None:
        raise RecipeError("the recipe has no section `pretrain`: add one to do this step")
    words = ["pretrain", recipe, *overrides, "--launcher", chosen.launcher]
    if chosen.allow:
        words += ["--allow", ",".join(chosen.allow)]
    share = processes_per_node
    if share is None:
        layout = pretraining_plan(loaded)
        assert layout is not None
        share = count_gpus() or max(1, layout.world // nodes)
    plan_trainings(loaded, ["pretrain"], Target(devices=nodes * share))
    machines = Machines(nodes, share, gpus=count_gpus() > 0 or nodes * share > 2)
    if chosen.launcher == "torchrun":
        print(torchrun_command(words, machines))
    elif chosen.launcher == "deepspeed":
        print(deepspeed_command(words, machines))
    elif chosen.launcher == "slurm":
        print(sbatch_file(words, machines, loaded.recipe.pretrain.watch.restarts), end="")
    else:
        raise RecipeError(
            f"--print-command is for torchrun, deepspeed and slurm; with {chosen.launcher} the command itself starts "
            "the processes"
        )
