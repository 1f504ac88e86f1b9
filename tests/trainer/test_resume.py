"""Exact resume, with real processes: whatever stops a run, its losses and weights are those of one never stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.trainer.datasets import write_token_dataset
from trainer.job import TrainingJob
from trainer.settings import ModelSettings, PretrainSettings

STEPS = 50


class Run:
    """A training directory and what its processes said."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "pretrain"
        self.tokens, self.tokenizer = write_token_dataset(directory)
        self.settings: dict[str, Any] = {
            "global_batch_tokens": 8 * 16,
            "steps": STEPS,
            "micro_batch_size": 3,
            "checkpoint_every": 5,
            "keep_last": 3,
            "validation_every": 15,
            "log_every": 1,
            "precision": "fp32",
            "threads_per_process": 1,
            "optimizer": {"lr": 0.005},
        }
        self.events: list[dict[str, Any]] = []

    def job(self, **settings: Any) -> TrainingJob:
        return TrainingJob(
            kind="pretrain",
            directory=self.directory,
            tokens=self.tokens,
            tokenizer=self.tokenizer,
            model=ModelSettings(layers=4, width=128, heads=2, dropout=0.1),
            settings=PretrainSettings.model_validate({**self.settings, **settings}),
            seed=11,
        )

    def start(
        self,
        at_step: int | None = None,
        then: Callable[["Run"], object] = lambda _: None,
        at: str = "step",
        **settings: Any,
    ) -> int:
        """Run until the end; returns the exit code.

        Once an event of the kind `at` is reported of that step do something to the processes, which may be a few steps
        further by then. A "checkpoint" is reported when it is complete: that may be long after its step.
        """
        job = self.job(**settings)
        job_file = self.directory.parent / "test-job.json"
        job_file.write_text(job.model_dump_json())
        self.events = []
        command = [sys.executable, "-m", "tests.trainer.train_process", str(job_file)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            if event["event"] == at and event["step"] == at_step:
                then(self)
        return self.process.wait(timeout=120)

    def children(self) -> list[psutil.Process]:
        return sorted(psutil.Process(self.process.pid).children(), key=lambda child: child.pid)

    def messages(self, kind: str) -> list[str]:
        return [event.get("message", "") for event in self.events if event["event"] == kind]

    def measured(self) -> list[tuple[Any, ...]]:
        lines = [json.loads(line) for line in (self.directory / "metrics.jsonl").read_text().splitlines()]
        names = ("step", "loss", "gradient_norm", "learning_rate", "tokens", "validation_loss", "bits_per_byte")
        return [tuple(line.get(name) for name in names) for line in lines]

    def weights(self) -> bytes:
        return (self.directory / "model" / "weights.safetensors").read_bytes()


def interrupt(run: Run) -> None:
    run.process.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("uninterrupted"))
    assert run.start() == 0, run.events
    return run


def assert_same_course(run: Run, uninterrupted: Run) -> None:
    assert run.measured() == uninterrupted.measured()
    assert run.weights() == uninterrupted.weights()


def test_a_run_learns_and_leaves_a_manifest_and_doing_it_again_does_nothing(uninterrupted: Run) -> None:
    manifest = json.loads((uninterrupted.directory / "manifest.json").read_text())
    losses = [event["loss"] for event in uninterrupted.events if event["event"] == "step"]
    assert (manifest["steps"], manifest["tokens"], manifest["processes"]) == (STEPS, STEPS * 128, 2)
    assert losses[-1] < 0.6 * losses[0]
    assert manifest["validation_loss"] < 0.6 * losses[0]
    assert uninterrupted.start() == 0
    assert uninterrupted.events == []


def test_interrupted_and_killed_from_above_it_goes_on_bit_for_bit(tmp_path: Path, uninterrupted: Run) -> None:
    run = Run(tmp_path)
    assert run.start(at_step=2, then=interrupt) == 75
    assert "asked to stop" in run.messages("stop")[0]

    other = run.start(optimizer={"lr": 0.02})
    assert other == 1
    assert "settings.optimizer.lr was 0.005, is 0.02" in run.messages("error")[0]

    orphans: list[psutil.Process] = []

    def kill_the_parent(run: Run) -> None:
        orphans.extend(run.children())
        run.process.kill()

    stopped = json.loads((run.directory / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert run.start(at_step=stopped + 2, then=kill_the_parent) == -signal.SIGKILL
    told = run.messages("resume")[0]
    assert told.startswith(f"resumed after step {stopped} of {STEPS}; verified: 4 files (")
    assert f"{8 * stopped} samples and the hash of the next batch; {stopped} steps of the optimizer" in told
    _, alive = psutil.wait_procs(orphans, timeout=60)
    assert len(orphans) == 2
    assert not alive

    assert run.start() == 0
    assert_same_course(run, uninterrupted)


def test_with_a_process_killed_and_the_newest_checkpoint_damaged_it_uses_the_one_before(
    tmp_path: Path, uninterrupted: Run
) -> None:
    run = Run(tmp_path)
    code = run.start(at_step=16, then=lambda run: os.kill(run.children()[1].pid, signal.SIGKILL))
    assert code == 1
    assert "training process 1 was ended by SIGKILL" in run.messages("error")[0]

    checkpoints = sorted((run.directory / "checkpoints").glob("step_*"))
    damaged = checkpoints[-1] / "state" / "rank_00001.safetensors"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(bytes(content))
    assert run.start() == 0
    assert f"{checkpoints[-1]} is damaged (state/{damaged.name} has other content" in run.messages("warning")[0]
    assert f"resumed after step {int(checkpoints[-2].name[5:])} of {STEPS}" in run.messages("resume")[0]
    assert_same_course(run, uninterrupted)


def test_a_loss_that_is_no_number_ends_the_run_naming_the_step(tmp_path: Path) -> None:
    run = Run(tmp_path)
    code = run.start(optimizer={"lr": 1e30}, gradient_clipping=0.0, schedule={"warmup_steps": 0})
    assert code == 1
    assert "at step 2: lower optimizer.lr" in run.messages("error")[0]
    assert not (run.directory / "manifest.json").exists()


def has_signal_waiting(process: int) -> bool:
    (mask,) = re.findall(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(mask, 16) != 0


def test_a_second_signal_ends_at_once_and_the_saved_steps_stay(tmp_path: Path) -> None:
    run = Run(tmp_path)

    def interrupt_twice(run: Run) -> None:
        for child in run.children():
            child.suspend()  # as good as a hang: the first signal alone would wait
        interrupt(run)
        while not all(has_signal_waiting(child.pid) for child in run.children()):
            time.sleep(0.05)
        interrupt(run)

    assert run.start(at_step=10, then=interrupt_twice, at="checkpoint") == 75
    assert (run.directory / "checkpoints" / "step_00000010" / "COMPLETE").exists()
