"""Hands a training job to the launcher of the command line, or takes part in it as one of its processes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from jobs.launching import Launching

if TYPE_CHECKING:
    from jobs.job import Job
    from trainer.job import TrainingJob
    from trainer.launch.family import OnEvent


def start_training(job: Job, training: TrainingJob, on_event: OnEvent) -> int:
    """Run a training job with the launcher of the command line; returns its exit code."""
    chosen = job.launching

    def asked_before() -> bool:
        return job.stop.pending

    if chosen.is_external:
        from trainer.launch.external import launch_external

        return launch_external(training, on_event, chosen.launcher, asked_before)
    if chosen.launcher == "ray":
        from jobs.cluster.ray_trainer import launch_on_ray

        ray, _ = job.engine.connect()
        return launch_on_ray(ray, training, on_event, asked_before)
    from trainer.launch import launch

    return launch(training, on_event, asked_before)


def take_part(training: TrainingJob, chosen: Launching, asked_before: bool = False) -> None:
    """Be one of a job's processes, not the first; ends this process when it did not end well.

    `asked_before`: whether a signal has asked for the end already.
    """
    from trainer.launch.external import launch_external

    code = launch_external(training, lambda _: None, chosen.launcher, lambda: asked_before)
    if code != 0:
        end_now(code)


def end_now(code: int) -> None:
    """End without the destructors of the communication library, which would wait for processes that are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
