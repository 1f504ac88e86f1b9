"""Training on a real local Ray: an actor that is killed is named, all start again, and nothing is left."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.cluster.ray_trainer import launch_on_ray
from pipeline.engine import Engine
from pipeline.errors import UserError
from tests.trainer.test_resume import Run


def processes_of(directory: Path) -> list[psutil.Process]:
    """Training processes of a run, by rank."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words, variables = process.info["cmdline"] or [], process.info["environ"] or {}
        if "trainer.worker" in words and str(directory / "job.json") in words:
            found.append((int(variables["RANK"]), process))
    return [process for _, process in sorted(found, key=lambda entry: entry[0])]


def test_a_killed_actor_is_named_and_the_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.settings |= {"steps": 40, "checkpoint_every": 3, "validation_every": 0, "parallel": {"data": 2}}
    events: list[dict[str, Any]] = []
    seen: list[psutil.Process] = []

    def show(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "checkpoint" and not seen:
            seen.extend(processes_of(run.directory))
            os.kill(seen[1].ppid(), signal.SIGKILL)  # the actor that holds the second process

    with Engine(2) as engine:
        ray, _ = engine.connect()
        code = launch_on_ray(ray, run.job(watch={"restarts": 1}), show)
        assert code == 0, events
        kinds = [event["event"] for event in events]
        assert (kinds.count("start"), kinds.count("restart"), kinds.count("resume")) == (2, 1, 1)
        (error,) = [event["message"] for event in events if event["event"] == "error"]
        assert "the Ray actor of rank 1 on " in error
        assert "is gone" in error
        assert len(seen) == 2
        psutil.wait_procs(seen, timeout=60)
        assert not [process for process in seen if process.is_running()], "no process is left of the first start"
        assert processes_of(run.directory) == []
        assert json.loads((run.directory / "manifest.json").read_text())["steps"] == 40
        with pytest.raises(UserError, match=r"64 processes need 64 CPU, the Ray cluster has 2"):
            launch_on_ray(ray, run.job(steps=41, parallel={"data": 64}, global_batch_tokens=64 * 16), show)
