"""Entry of every training process: `python -m trainer.worker job.json`, and `take_part` for one that has begun.

Started by `trainer.launch`, or by torchrun, `deepspeed` or srun (`trainer.rendezvous` knows their variables). Standard
output of the first process carries events, one JSON line each, and nothing else: what libraries print goes to standard
error. Exit codes: 0 done, 1 failed, 2 bad usage, 75 interrupted and saved, 124 hang.
"""

import os
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.kernels.compiled import ensure_compiled
from trainer.consistency import description, require_same
from trainer.data.shards import KERNELS
from trainer.devices import count_cores, count_gpus
from trainer.exit_codes import BAD_USAGE, DONE, ERROR_PREFIX, FAILED, INTERRUPTED
from trainer.identity import Inputs, open_inputs
from trainer.job import TrainingJob
from trainer.logging.journal import Journal
from trainer.manifest import finished_manifest
from trainer.out_of_memory import explain_memory, is_out_of_memory
from trainer.rendezvous import adopt, in_environment, launcher_of, meet, patience, processes_here
from trainer.settings import TrainingSettings
from trainer.watch.heartbeat import Heartbeat
from trainer.watch.parent import end_with_parent
from trainer.watch.signals import StopRequest
from trainer.watch.time_limit import stop_time
from trainer.watch.watchdog import Watchdog


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
    if (launcher := launcher_of(os.environ)) != "embedded":
        adopt(os.environ, launcher)
    return take_part(job, events, stop)


def take_part(job: TrainingJob, events: IO[str], stop: StopRequest) -> int:
    """Be one process of a run, as RANK and WORLD_SIZE say, to its end; returns the exit code.

    The process must end soon after, by `os._exit`: the communication library's destructors would wait for others.
    """
    rank, world = in_environment()
    watch = job.settings.watch
    heartbeat = Heartbeat(rank, watch)
    watchdog = Watchdog(job.directory, heartbeat, world, watch, stop, stop_time(watch, job.started or time.time()))
    try:
        watchdog.start()
        try:
            return _train(open_inputs(job), events, stop, heartbeat)
        finally:
            watchdog.close()
    except UserError as error:
        print(f"{ERROR_PREFIX}{error}", file=sys.stderr, flush=True)
        return FAILED
    except Exception as error:
        traceback.print_exc()
        if is_out_of_memory(error):
            explained = explain_memory(error, open_inputs(job), world, "cuda" if count_gpus() else "cpu")
            print(f"{ERROR_PREFIX}{explained}", file=sys.stderr, flush=True)
        return FAILED


def _train(inputs: Inputs, events: IO[str], stop: StopRequest, heartbeat: Heartbeat) -> int:
    if finished_manifest(inputs) is not None:
        return DONE  # All processes find that by themselves: the first one would not come to meet the others.
    ensure_compiled(KERNELS)
    threads = prepare_libraries(inputs.job.settings)
    import torch

    from trainer.ranks import join_ranks, leave_ranks
    from trainer.run import run_job

    torch.set_num_threads(threads)
    timeout = patience(inputs.job.settings.watch)
    store, rank, world = meet(timeout)
    require_same(store, rank, world, description(inputs, world))
    ranks = join_ranks("cuda" if count_gpus() and torch.cuda.is_available() else "cpu", store, timeout)
    journal = Journal(inputs.job.directory, events, active=ranks.is_first)
    try:
        finished = run_job(inputs, ranks, journal, stop, heartbeat)
    except BaseException:
        journal.close(failed=True)
        raise
    journal.close()
    ranks.barrier()  # a launcher may end the others as soon as the first has ended
    leave_ranks()
    return DONE if finished else INTERRUPTED


def _take_standard_output() -> IO[str]:
    """Standard output for events alone: its place is taken by standard error, also for C++ code."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def prepare_libraries(settings: TrainingSettings) -> int:
    """Set what torch and DeepSpeed read from the environment, before they are imported; returns the threads to use."""
    threads = settings.threads_per_process or max(1, count_cores() // processes_here())
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", "29500")
    if gpus := count_gpus():
        # Some launchers show each process its own GPU alone; then that is number 0, whatever the local rank.
        os.environ["LOCAL_RANK"] = str(int(os.environ["LOCAL_RANK"]) % gpus)
    else:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    warnings.filterwarnings("ignore", category=FutureWarning)  # DeepSpeed's use of older collectives, once a call
    return threads


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # a failed process must not wait for its peers in the destructors of the communication library
