"""The commands that start a run under another launcher, complete, for copying.

Each starts the same `gptmill pretrain` once a process; the processes find one another by what the launcher tells them
(`trainer.rendezvous`).
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

MEETING_PORT = 29_400
MINUTES_TO_SAVE = 5


@dataclass(frozen=True)
class Machines:
    """What a run is started on."""

    nodes: int
    processes_per_node: int
    gpus: bool


def torchrun_command(words: Sequence[str], machines: Machines) -> str:
    """To be run on each node; on the first one HOST is its own name."""
    if machines.nodes == 1:
        where = "--standalone"
    else:
        where = (
            f"--nnodes {machines.nodes} --rdzv-backend c10d --rdzv-id {_name(words)} "
            f"--rdzv-endpoint HOST:{MEETING_PORT}"
        )
    command = f"torchrun {where} --nproc-per-node {machines.processes_per_node} --no-python {_gptmill(words)}"
    if machines.nodes == 1:
        return command
    return f"# on each of the {machines.nodes} nodes, HOST being the first of them\n{command}"


def deepspeed_command(words: Sequence[str], machines: Machines) -> str:
    """To be run on the first node; it reaches the others by ssh without a password."""
    lines = [f"node{number}  slots={machines.processes_per_node}" for number in range(1, machines.nodes + 1)]
    hosts = "\n".join(f"#   {line}" for line in lines)
    return (
        f"# hostfile: a line for each machine, with its name and processes, such as\n{hosts}\n"
        f"deepspeed --hostfile hostfile --no_python --no_local_rank {_gptmill(words)}"
    )


def sbatch_file(words: Sequence[str], machines: Machines, restarts: int) -> str:
    """A file for `sbatch`: saves before the job's end and goes back to the queue, also after `restarts` failures."""
    gpus = f"#SBATCH --gpus-per-node={machines.processes_per_node}\n" if machines.gpus else ""
    return f"""#!/bin/bash
#SBATCH --job-name={_name(words)}
#SBATCH --nodes={machines.nodes}
#SBATCH --ntasks-per-node={machines.processes_per_node}
{gpus}#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@{60 * MINUTES_TO_SAVE}
#SBATCH --requeue
#SBATCH --open-mode=append

srun --kill-on-bad-exit=1 {_gptmill(words)}
code=$?
# 75: saved before the time was up, or after a signal. 1 and 124: failed or hung.
if [ $code -eq 75 ] || {{ [ $code -eq 1 -o $code -eq 124 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; }}; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
"""


def _gptmill(words: Sequence[str]) -> str:
    return shlex.join(["gptmill", *words])


def _name(words: Sequence[str]) -> str:
    """Of the recipe, in characters that need no quotes."""
    stem = PurePath(words[1]).stem if len(words) > 1 else ""
    return f"gptmill-{re.sub(r'[^A-Za-z0-9_.-]', '-', stem)}"
