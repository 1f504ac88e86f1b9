"""Finetuning under torchrun and srun: the first process makes the conversations, the others wait for its word."""

import json
import signal
import time
from pathlib import Path

from tests.faults.external import TORCHRUN, srun
from tests.faults.finetuning import command, write_conversations, write_run
from tests.faults.pretraining import events, start, steps_measured


def rows_encoded(finetune: Path) -> int:
    splits = json.loads((finetune / "data" / "conversations.json").read_text())["splits"]
    return sum(split["rows"] for split in splits.values())


def test_two_processes_of_torchrun_finetune_on_what_the_first_has_made(tmp_path: Path) -> None:
    finetune = write_run(tmp_path)
    run = start(tmp_path, [*TORCHRUN, *command()])
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 0, output
    assert steps_measured(finetune) == [1, 2, 3, 4]
    assert events(finetune, "start")[0]["processes"] == 2
    assert rows_encoded(finetune) == 40
    assert output.count("finetune chatml") == 1, "only the first one speaks"
    assert (finetune / "model" / "weights.safetensors").exists()


def test_tasks_of_srun_end_together_when_the_conversations_are_bad_and_train_when_mended(
    tmp_path: Path,
) -> None:
    finetune = write_run(tmp_path)
    (tmp_path / "conversations.jsonl").write_text('{"messages": []}')
    tasks = srun(tmp_path, 101, command(), command())
    outputs = [task.communicate(timeout=120)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [1, 1], outputs
    assert "the first process ended before the training: finetune.data: 1 of 1 records" in outputs[1]
    assert not finetune.exists()

    write_conversations(tmp_path, 30)
    tasks = srun(tmp_path, 102, command("finetune.steps=1"), command("finetune.steps=1"))
    outputs = [task.communicate(timeout=120)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], outputs
    assert steps_measured(finetune) == [1]
    assert rows_encoded(finetune) == 30


def test_a_signal_while_conversations_are_made_ends_all_tasks_as_interrupted(tmp_path: Path) -> None:
    finetune = write_run(tmp_path)
    write_conversations(tmp_path, 20_000)
    long = command("finetune.steps=100000")
    tasks = srun(tmp_path, 103, long, long)
    while not (finetune.parent / "instructions").exists():
        assert tasks[0].poll() is None, tasks[0].communicate()
        time.sleep(0.02)
    for task in tasks:
        task.send_signal(signal.SIGUSR1)
    outputs = [task.communicate(timeout=120)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [75, 75], outputs
    assert "the same command continues" in outputs[0]
