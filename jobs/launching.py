"""How the processes of a training step are started: here, on Ray, or by a launcher that has started this one.

    gptmill pretrain RECIPE                                        on this machine
    gptmill pretrain RECIPE --launcher ray                         on the cluster of RAY_ADDRESS
    torchrun ... --no-python gptmill pretrain RECIPE               each process is one of the run
    gptmill pretrain RECIPE --launcher slurm --print-command       the file for sbatch

Without `--launcher` the environment says it: RANK and WORLD_SIZE, or the tasks of srun, mean that this process is one
of several. Only the first of them holds the run directory; the others read the recipe and take part.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.recipe import LoadedRecipe, RecipeError, load_recipe
from trainer.rendezvous import Launcher, adopt, in_environment, launcher_of

if TYPE_CHECKING:
    from jobs.job import Job
    from trainer.job import TrainingJob
    from trainer.launch.family import OnEvent

EXTERNAL: tuple[Launcher, ...] = ("torchrun", "deepspeed", "slurm")


@dataclass(frozen=True)
class Launching:
    """What the command line said of it."""

    launcher: Launcher = "embedded"
    restarts: int | None = None
    """None: what the recipe says."""
    allow: tuple[str, ...] = ()
    """Words of --allow."""

    @property
    def is_external(self) -> bool:
        """Whether another program starts and ends the processes."""
        return self.launcher in EXTERNAL

    def is_follower(self) -> bool:
        """Whether this process is one of a run, and not the first: it does nothing that is done once.

        Raises:
            SettingError: it was not started by that launcher.
        """
        if not self.is_external:
            return False
        adopt(os.environ, self.launcher)
        return in_environment()[0] > 0


HERE = Launching()
"""On this machine, as the recipe says."""


def launching(launcher: Launcher | None, restarts: int | None, allow: str | None) -> Launching:
    """From the options of the command line.

    Raises:
        RecipeError: an option has no meaning with this launcher.
    """
    chosen = launcher or launcher_of(os.environ)
    if restarts is not None and chosen in EXTERNAL:
        raise RecipeError(
            f"--restarts needs the launcher embedded or ray: {chosen} restarts by itself (torchrun --max-restarts; "
            "the sbatch file that --print-command writes)"
        )
    words = tuple(word.strip() for word in (allow or "").split(",") if word.strip())
    return Launching(chosen, restarts, words)


def start_training(job: Job, training: TrainingJob, on_event: OnEvent) -> int:
    """Run a training job with the launcher of the command line; returns its exit code."""
    chosen = job.launching
    if chosen.is_external:
        from trainer.launch.external import launch_external

        return launch_external(training, on_event, chosen.launcher)
    if chosen.launcher == "ray":
        from jobs.cluster.ray_trainer import launch_on_ray

        ray, _ = job.engine.connect()
        return launch_on_ray(ray, training, on_event)
    from trainer.launch import launch

    return launch(training, on_event)


def follow(loaded: LoadedRecipe, chosen: Launching) -> None:
    """Take part in pretraining as a process that is not the first; ends this process when it did not end well."""
    from jobs.pretrain import pretraining_job
    from jobs.run_directory import RunDirectory
    from trainer.launch.external import launch_external

    training = pretraining_job(loaded.recipe, RunDirectory(loaded.recipe.run), chosen)
    code = launch_external(training, lambda _: None, chosen.launcher)
    if code != 0:
        end_now(code)


def end_now(code: int) -> None:
    """End without the destructors of the communication library, which would wait for processes that are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def show_command(
    recipe: str, overrides: Sequence[str], chosen: Launching, nodes: int, processes_per_node: int | None
) -> None:
    """Print how to start a recipe's pretraining with a launcher, on so many nodes with so many processes each.

    Raises:
        RecipeError: the recipe cannot be trained on that many processes, or the launcher needs no command.
    """
    from jobs.plan import pretraining_plan
    from jobs.training_plan import Target, plan_trainings
    from trainer.devices import count_gpus
    from trainer.launch.commands import Machines, deepspeed_command, sbatch_file, torchrun_command

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
