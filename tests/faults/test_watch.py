"""Runs that hang, fail or are ended: real processes, stopped and killed from outside."""

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

from tests.trainer.test_resume import Run, assert_same_course
from trainer.watch.heartbeat import HEARTBEATS, read_beats

LIMITS = {"start_minutes": 5.0, "step_minutes": 0.15, "save_minutes": 5.0}


def test_a_frozen_process_is_named_within_its_limit_and_its_stacks_are_in_its_log(tmp_path: Path) -> None:
    run = Run(tmp_path)
    frozen: list[tuple[float, int]] = []

    def freeze_the_second(run: Run) -> None:
        process = run.children()[1]
        # The message has what a process wrote last, which is not at each step.
        while read_beats(run.directory / HEARTBEATS, 2)[1].beat.phase == "start":
            time.sleep(0.05)
        process.suspend()
        frozen.append((time.monotonic(), process.pid))

    code = run.start(at_step=12, then=freeze_the_second, watch=LIMITS, steps=2000)
    seconds = time.monotonic() - frozen[0][0]
    assert code == 124
    message = run.messages("error")[0]
    assert f"process {frozen[0][1]}) has been silent for" in message
    assert "rank 1 (" in message
    assert re.search(r"last seen in \w+ of step \d+", message)
    assert seconds < 9.0 + 60.0, "limit of a step, and the time to print stacks; collectives wait half an hour"
    log = (run.directory / "logs" / "rank_1.log").read_text()
    assert "most recent call first" in log, "even the frozen process tells where it is"
    assert "a hang was detected" in (run.directory / "logs" / "rank_0.log").read_text()


def test_a_killed_run_is_started_again_and_goes_the_way_of_one_that_was_not(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"steps": 48, "checkpoint_every": 4, "validation_every": 0}
    whole, killed = Run(tmp_path / "whole"), Run(tmp_path / "killed")
    assert whole.start(**fields) == 0, whole.events

    def kill_once(run: Run) -> None:
        if not run.messages("restart"):
            os.kill(run.children()[1].pid, signal.SIGKILL)

    code = killed.start(at_step=4, then=kill_once, at="checkpoint", watch={"restarts": 2}, **fields)
    assert code == 0, killed.events
    assert "training process 1 was ended by SIGKILL" in killed.messages("error")[0]
    (restart,) = killed.messages("restart")
    assert "restart 1 of 2 from the last good checkpoint in 1 s" in restart
    (resumed,) = re.findall(r"resumed after step (\d+) of 48", killed.messages("resume")[0])
    assert int(resumed) in range(4, 48, 4)
    assert_same_course(killed, whole)


def test_a_scheduler_that_warns_with_usr1_gets_a_saved_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    warn: dict[str, Any] = {"watch": {"restarts": 5}, "parallel": {"data": 1}}
    assert run.start(at_step=2, then=lambda run: run.process.send_signal(signal.SIGUSR1), **warn) == 75
    assert "asked to stop" in run.messages("stop")[0]
    assert not run.messages("restart")


def test_a_run_that_fails_at_the_same_step_each_time_is_given_up(tmp_path: Path) -> None:
    run = Run(tmp_path)
    hopeless: dict[str, Any] = {"optimizer": {"lr": 1e30}, "gradient_clipping": 0.0, "schedule": {"warmup_steps": 0}}
    assert run.start(watch={"restarts": 9}, parallel={"data": 1}, **hopeless) == 1
    assert len(run.messages("restart")) == 2
    assert run.messages("gave_up") == ["failed 3 times in step 2: not started again"]
    assert len(run.messages("error")) == 3
    kept = [json.loads(line)["event"] for line in (run.directory / "events.jsonl").read_text().splitlines()]
    assert kept == ["start", "error", "restart"] * 2 + ["start", "error", "gave_up"], "the run's own record has it too"
