"""Other programs that start the processes of a training: torchrun itself, and what srun does."""

import subprocess
import sys
from pathlib import Path

from tests.faults.pretraining import start

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")


def srun(folder: Path, job: int, *words: list[str], **variables: str) -> list[subprocess.Popen[str]]:
    """What srun does: a task for each of `words`, with Slurm's variables."""
    step = {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": str(len(words)),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_CPUS_PER_TASK": "1",
    }
    return [
        start(folder, given, **step, **variables, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank))
        for rank, given in enumerate(words)
    ]
