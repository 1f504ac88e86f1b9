"""The others wait for the first process, hear of its error, and notice when it is gone: real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.launch.embedded import free_port

PROGRAM = """
import os, sys, time
from pathlib import Path
from pipeline.errors import SettingError, UserError
from trainer.finetune.settings import FinetuneSettings
from trainer.launch.first import wait_for_first, while_others_wait

case, prepared = sys.argv[1], Path(sys.argv[2])
settings = FinetuneSettings(threads_per_process=1)
try:
    if os.environ["RANK"] == "0":
        with while_others_wait("torchrun", settings) as let_others_go_on:
            time.sleep(0.7)
            if case == "bad data":
                raise SettingError("the data are bad")
            if case == "killed":
                os._exit(9)
            prepared.write_text("new")
            let_others_go_on()
            if case == "fails later":
                raise UserError("in the training")
    else:
        wait_for_first("torchrun", settings)
        print("read", prepared.read_text())
except UserError as fault:
    print(fault)
    os._exit(fault.exit_code)
"""


def run_two(folder: Path, case: str) -> list[tuple[int, str]]:
    """Exit code and output of both."""
    prepared = folder / "prepared"
    prepared.write_text("old")
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, case, str(prepared)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=100)[0] for process in processes]
    return [(process.returncode, output.strip()) for process, output in zip(processes, outputs, strict=True)]


@pytest.mark.parametrize(
    ("case", "first", "other"),
    [
        ("well", (0, ""), (0, "read new")),
        ("bad data", (2, "the data are bad"), (2, "the first process ended before the training: the data are bad")),
        ("killed", (9, ""), (1, "the first process cannot be reached, look at what it said")),
        ("fails later", (1, "in the training"), (0, "read new")),
    ],
)
def test_the_others_go_on_only_with_what_the_first_has_prepared(
    tmp_path: Path, case: str, first: tuple[int, str], other: tuple[int, str]
) -> None:
    (first_code, first_said), (other_code, other_said) = run_two(tmp_path, case)
    assert (first_code, first_said) == first
    assert other_code == other[0]
    assert other_said.startswith(other[1])
