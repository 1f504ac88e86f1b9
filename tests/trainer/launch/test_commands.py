"""The printed commands: complete, and understood by the launchers they are for."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.launch.commands import Machines, deepspeed_command, sbatch_file, torchrun_command

WORDS = ["pretrain", "my recipe.yaml", "pretrain.steps=10", "--launcher", "x"]
QUOTED = "gptmill pretrain 'my recipe.yaml' pretrain.steps=10 --launcher x"


def test_torchrun_on_one_machine_and_on_four() -> None:
    assert torchrun_command(WORDS, Machines(1, 8, True)) == (
        f"torchrun --standalone --nproc-per-node 8 --no-python {QUOTED}"
    )
    four = torchrun_command(WORDS, Machines(4, 8, True)).splitlines()
    assert "on each of the 4 nodes" in four[0]
    assert "--nnodes 4" in four[1]
    assert "--rdzv-endpoint HOST:29400" in four[1]


def test_torchruns_own_parser_takes_the_command() -> None:
    run = pytest.importorskip("torch.distributed.run")
    for machines in (Machines(1, 2, False), Machines(3, 8, True)):
        words = shlex.split(torchrun_command(WORDS, machines).splitlines()[-1])
        parsed = run.parse_args(words[1:])
        assert parsed.no_python
        assert [parsed.training_script, *parsed.training_script_args] == ["gptmill", *WORDS]


def test_deepspeeds_own_parser_takes_the_command() -> None:
    pytest.importorskip("deepspeed")
    command = deepspeed_command(WORDS, Machines(2, 8, True))
    assert "node2  slots=8" in command
    words = shlex.split(command.splitlines()[-1])
    parse = (
        "import json, sys; from deepspeed.launcher.runner import parse_args\n"
        "found = parse_args(sys.argv[1:])\n"
        "print(json.dumps([found.hostfile, found.no_python, found.no_local_rank, found.user_script, *found.user_args]))"
    )
    done = subprocess.run([sys.executable, "-c", parse, *words[1:]], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == (
        '["hostfile", true, true, "gptmill", "pretrain", "my recipe.yaml", "pretrain.steps=10", "--launcher", "x"]'
    )


@pytest.mark.parametrize(
    ("code", "restarted", "requeued"), [(0, 0, False), (75, 9, True), (1, 1, True), (124, 1, True), (1, 2, False)]
)
def test_the_sbatch_file_runs_and_goes_back_to_the_queue_when_it_should(
    tmp_path: Path, code: int, restarted: int, requeued: bool
) -> None:
    (tmp_path / "srun").write_text(f'#!/bin/bash\necho "srun $*" >> {tmp_path}/said\nexit {code}\n')
    (tmp_path / "scontrol").write_text(f'#!/bin/bash\necho "scontrol $*" >> {tmp_path}/said\n')
    for name in ("srun", "scontrol"):
        (tmp_path / name).chmod(0o755)
    text = sbatch_file(WORDS, Machines(4, 8, True), restarts=2)
    assert "#SBATCH --nodes=4\n#SBATCH --ntasks-per-node=8\n#SBATCH --gpus-per-node=8\n" in text
    assert "--gpus" not in sbatch_file(WORDS, Machines(4, 8, False), restarts=2)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarted)}
    assert subprocess.run(["bash", "-c", text], env=environment).returncode == code
    said = (tmp_path / "said").read_text()
    assert said.startswith("srun --kill-on-bad-exit=1 gptmill pretrain my recipe.yaml")
    assert ("scontrol requeue 7" in said) is requeued
