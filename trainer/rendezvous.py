"""Where the processes of a run meet: the variables of any launcher, and the store behind them.

torchrun and `deepspeed` set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; srun sets its own names, which
are translated. The first host of the step is the address, and the port follows from the numbers of job and step, so
that all tasks know it without a message and two steps on a node do not meet.
"""

import os
import re
from collections.abc import Mapping, MutableMapping
from datetime import timedelta
from typing import Any, Literal

from pipeline.errors import SettingError
from trainer.settings.watch import WatchSettings

NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
FIRST_PORT, PORTS = 20_000, 10_000
"""Slurm jobs meet at a port below the range that systems give to outgoing connections."""

Launcher = Literal["embedded", "torchrun", "deepspeed", "slurm", "ray"]


def launcher_of(environment: Mapping[str, str]) -> Launcher:
    """Who started this process: the launcher that its variables are of, or "embedded" when it is to start others.

    A shell inside of `srun --pty` has Slurm's variables too, of a step with one task: not a process of a run.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        return "torchrun"
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return "deepspeed" if "CROSS_RANK" in environment else "torchrun"
    if "SLURM_PROCID" in environment and int(environment.get("SLURM_STEP_NUM_TASKS") or 1) > 1:
        return "slurm"
    return "embedded"


def adopt(environment: MutableMapping[str, str], launcher: Launcher) -> None:
    """Have RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT in the environment.

    Raises:
        SettingError: this process was not started by that launcher.
    """
    if launcher == "slurm" and "RANK" not in environment:
        environment.update(slurm_variables(environment))
    missing = [name for name in NEEDED if name not in environment]
    if missing:
        raise SettingError(
            f"this process was not started by {launcher}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            f"not set; `--launcher {launcher} --print-command` prints the command that does it"
        )


def slurm_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of torch.distributed, from those of srun.

    Raises:
        SettingError: there is no task of srun around this process.
    """
    try:
        rank, local_rank = environment["SLURM_PROCID"], environment["SLURM_LOCALID"]
        world = environment.get("SLURM_STEP_NUM_TASKS") or environment["SLURM_NTASKS"]
        nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST")
        nodes = nodes or environment["SLURM_JOB_NODELIST"]
        job = int(environment["SLURM_JOB_ID"])
    except KeyError as missing:
        raise SettingError(
            f"this process was not started by srun: {missing.args[0]} is not set; "
            "`--launcher slurm --print-command` prints a file for sbatch"
        ) from None
    step = environment.get("SLURM_STEP_ID", "0")
    port = FIRST_PORT + (31 * job + (int(step) if step.isdigit() else 0)) % PORTS
    return {
        "RANK": rank,
        "WORLD_SIZE": world,
        "LOCAL_RANK": local_rank,
        "MASTER_ADDR": environment.get("MASTER_ADDR") or first_host(nodes),
        "MASTER_PORT": environment.get("MASTER_PORT") or str(port),
    }


def first_host(nodes: str) -> str:
    """The first name of a list as Slurm writes it: gpu[007-012,020],login1 -> gpu007."""
    match = re.match(r"([^\[,]*)(?:\[([^\]]*)\]([^,\[]*))?", nodes)
    assert match is not None
    prefix, numbers, suffix = match.groups()
    first = "" if numbers is None else re.split("[-,]", numbers, maxsplit=1)[0]
    return f"{prefix}{first}{suffix or ''}"


def processes_started(environment: Mapping[str, str]) -> int:
    """How many processes the launcher of this one has started; 1 when nobody did."""
    launcher = launcher_of(environment)
    if launcher == "embedded":
        return 1
    return int(environment["SLURM_STEP_NUM_TASKS" if launcher == "slurm" else "WORLD_SIZE"])


def patience(settings: WatchSettings) -> timedelta:
    """How long messages may take: longer than the watchdog waits, which says more when it ends a run."""
    return timedelta(minutes=max(30.0, 5.0 + max(settings.start_minutes, settings.step_minutes, settings.save_minutes)))


def meet(timeout: timedelta) -> tuple[Any, int, int]:
    """The store of the run, this process's rank, and the number of processes."""
    from torch.distributed.rendezvous import rendezvous

    store, rank, world = next(rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    return store, rank, world


def in_environment(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Rank and number of processes; 0 and 1 for a process that was started alone."""
    return int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1"))


def processes_here(environment: Mapping[str, str] = os.environ) -> int:
    """Processes of the run that share the cores which this one may use.

    Under srun with --cpus-per-task a task may use its own cores alone.
    """
    if "SLURM_CPUS_PER_TASK" in environment and "LOCAL_WORLD_SIZE" not in environment:
        return 1
    return int(environment.get("LOCAL_WORLD_SIZE") or environment.get("LOCAL_SIZE") or in_environment(environment)[1])
