"""What the command line says of how the processes of a training step are started: here, on Ray, or by a launcher that
has started this one.

    gptmill pretrain RECIPE                                        on this machine
    gptmill pretrain RECIPE --launcher ray                         on the cluster of RAY_ADDRESS
    torchrun ... --no-python gptmill pretrain RECIPE               each process is one of the run
    gptmill pretrain RECIPE --launcher slurm --print-command       the file for sbatch

Without `--launcher` the environment says it: RANK and WORLD_SIZE, or the tasks of srun, mean that this process is one
of several. Only the first of them holds the run directory; the others read the recipe and take part.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from jobs.recipe import RecipeError
from trainer.rendezvous import Launcher, adopt, in_environment, launcher_of

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
