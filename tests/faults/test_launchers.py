"""The same recipe under torchrun and srun: real processes, found by what the launcher tells them."""

import os
import time
from pathlib import Path

from tests.faults.external import TORCHRUN, srun
from tests.faults.pretraining import ROOT, command, events, start, steps_measured, write_run


def test_torchrun_starts_the_processes_and_only_the_first_holds_the_run(tmp_path: Path) -> None:
    pretrain = write_run(tmp_path)
    run = start(tmp_path, [*TORCHRUN, *command()])
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 0, output
    assert steps_measured(pretrain) == [1, 2, 3, 4]
    assert events(pretrain, "start")[0]["processes"] == 2
    assert output.count("validation loss") >= 1

    again = start(tmp_path, [*TORCHRUN, *command()])
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert steps_measured(pretrain) == [1, 2, 3, 4], "it was finished: no process waits for another"


def test_tasks_of_srun_stop_before_the_jobs_end_and_one_that_is_not_like_the_others_is_named(tmp_path: Path) -> None:
    pretrain = write_run(tmp_path)
    end = str(int(time.time()) + 5 * 60 + 1)  # a second from now the five minutes for saving begin
    job, long = os.getpid(), command("pretrain.steps=100000")
    tasks = srun(tmp_path, job, long, long, SLURM_JOB_END_TIME=end)
    outputs = [task.communicate(timeout=120)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [75, 75], outputs
    assert "asked to stop" in events(pretrain, "stop")[0]["message"], "nobody else did: the end is near"
    assert list((pretrain / "checkpoints").glob("step_*/COMPLETE"))

    newer = tmp_path / "libraries" / "numpy-99.0.dist-info"
    newer.mkdir(parents=True)
    (newer / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 99.0\n")
    other = ["env", f"PYTHONPATH={newer.parent}:{ROOT}", *long, "pretrain.optimizer.lr=0.5"]
    tasks = srun(tmp_path, job + 1, long, other)
    outputs = [task.communicate(timeout=120)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [1, 1], outputs
    for output in outputs:
        assert "the processes of this run are not alike: settings.optimizer.lr is 0.5 on rank 1" in output
        assert "version of numpy is 99.0 on rank 1" in output
