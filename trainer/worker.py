"""Entry of every training process: `python -m trainer.worker job.json`.

Started by `trainer.launch`, or unchanged by torchrun, `deepspeed` or srun, as long as RANK, WORLD_SIZE, LOCAL_RANK,
MASTER_ADDR and MASTER_PORT are set. Standard output of the first process carries events, one JSON line each, and
nothing else: what libraries print goes to standard error. Exit codes: 0 done, 1 failed, 2 bad usage, 75 interrupted
and saved.
"""

import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from pipeline.errors import UserError
from trainer.devices import count_cores, count_gpus
from trainer.exit_codes import BAD_USAGE, DONE, ERROR_PREFIX, FAILED, INTERRUPTED
from trainer.identity import Inputs, open_inputs
from trainer.job import TrainingJob
from trainer.journal import Journal
from trainer.watch import StopRequest, end_with_parent


def main(arguments: list[str]) -> int:
    """Run the job in the file given and return the exit code."""
    events = _take_standard_output()
    if len(arguments) != 1:
        print("usage: python -m trainer.worker job.json", file=sys.stderr)
        return BAD_USAGE
    end_with_parent()
    stop = StopRequest()
    stop.listen()
    try:
        job = TrainingJob.model_validate_json(Path(arguments[0]).read_bytes())
    except (ValidationError, OSError) as error:
        print(f"{ERROR_PREFIX}{arguments[0]} is not a training job: {error}", file=sys.stderr, flush=True)
        return BAD_USAGE
    try:
        return _train(open_inputs(job), events, stop)
    except UserError as error:
        print(f"{ERROR_PREFIX}{error}", file=sys.stderr, flush=True)
        return FAILED
    except Exception:
        traceback.print_exc()
        return FAILED


def _train(inputs: Inputs, events: IO[str], stop: StopRequest) -> int:
    world, device_type = int(os.environ.get("WORLD_SIZE", "1")), "cuda" if count_gpus() else "cpu"
    threads = inputs.job.settings.threads_per_process or max(1, count_cores() // world)
    _prepare_libraries(threads, device_type)
    import torch

    from trainer.ranks import join_ranks, leave_ranks
    from trainer.run import run_job

    torch.set_num_threads(threads)
    ranks = join_ranks("cuda" if device_type == "cuda" and torch.cuda.is_available() else "cpu")
    journal = Journal(inputs.job.directory, events, active=ranks.is_first)
    finished = run_job(inputs, ranks, journal, stop)
    leave_ranks()
    return DONE if finished else INTERRUPTED


def _take_standard_output() -> IO[str]:
    """Standard output for events alone: its place is taken by standard error, also for C++ code."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _prepare_libraries(threads: int, device_type: str) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", "29500")
    if device_type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    warnings.filterwarnings("ignore", category=FutureWarning)  # DeepSpeed's use of older collectives, once a call


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # a failed process must not wait for its peers in the destructors of the communication library
