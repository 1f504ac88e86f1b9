"""What the command line says of how the processes of a training step are started: here, on Ray, or by a launcher that
has started this one.

    gptmill pretrain RECIPE                                        on this machine
    gptmill pretrain RECIPE --launcher ray                         on the cluster of RAY_ADDRESS
    torchrun ... --no-python gptmill pretrain RECIPE               each process is one of the run
    gptmill pretrain RECIPE --launcher slurm --print-command       the file for sbatch

`gptmill finetune` likewise. Without `--launcher` the environment says it: RANK and WORLD_SIZE, or the tasks of srun,
mean that this process is one of several. Only the first of them holds the run directory; the others read the recipe
and take part. All other steps are done by one process, which starts what it needs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar

from jobs.recipe import RecipeError
from trainer.rendezvous import Launcher, adopt, in_environment, launcher_of, processes_started
from trainer.settings import TrainingSettings

EXTERNAL: tuple[Launcher, ...] = ("torchrun", "deepspeed", "slurm")

Trained = TypeVar("Trained", bound=TrainingSettings)


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

    def applied(self, settings: Trained) -> Trained:
        """The settings of a training with what the command line says instead."""
        if self.restarts is None:
            return settings
        watch = settings.watch.model_copy(update={"restarts": self.restarts})
        return settings.model_copy(update={"watch": watch})

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


def require_started_once(command: str) -> None:
    """Refuse a command that is one process where a launcher has started several, each of which would do all of it.

    Raises:
        RecipeError: names the launcher and the commands that may be started so.
    """
    count = processes_started(os.environ)
    if count < 2:
        return
    launcher = launcher_of(os.environ)
    seen = "SLURM_STEP_NUM_TASKS" if launcher == "slurm" else "WORLD_SIZE"
    advice = (
        "Start `gptmill corpus`, `tokenizer` and `tokens` once each, and only the trainings by the launcher: "
        f"`gptmill pretrain` and `gptmill finetune` (`--launcher {launcher} --print-command` prints the command)"
        if command == "run"
        else "Start it once; RAY_ADDRESS names a cluster for its workers"
    )
    raise RecipeError(
        f"`gptmill {command}` starts its processes by itself, but {launcher} has started {count} of it "
        f"({seen}={count}): each would do the same work. {advice}"
    )
