"""When a run must end by itself: after so many minutes, or some minutes before Slurm ends its job."""

import os
import subprocess
from collections.abc import Callable, Mapping
from datetime import datetime

from trainer.settings.watch import WatchSettings

SCONTROL_SECONDS = 20.0


def stop_time(
    settings: WatchSettings,
    started: float,
    environment: Mapping[str, str] = os.environ,
    ask: Callable[[str], str | None] | None = None,
) -> float | None:
    """When to ask for a stop, in seconds since 1970; None: never.

    `end_after_minutes` counts from `started`; without it the end is Slurm's: SLURM_JOB_END_TIME, which newer versions
    set, else what `scontrol show job` says. `ask` stands for scontrol in tests.
    """
    if settings.end_after_minutes is not None:
        end: float | None = started + 60.0 * settings.end_after_minutes
    else:
        end = slurm_end(environment, ask or _scontrol)
    return None if end is None else end - 60.0 * settings.save_before_end_minutes


def slurm_end(environment: Mapping[str, str], ask: Callable[[str], str | None]) -> float | None:
    """When Slurm will end the job of this process; None outside of Slurm, or where the job has no end."""
    given = environment.get("SLURM_JOB_END_TIME", "")
    if given.isdigit():
        return float(given)
    job = environment.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        return None
    words = dict(word.split("=", 1) for word in (ask(job) or "").split() if "=" in word)
    try:
        return datetime.fromisoformat(words["EndTime"]).timestamp()
    except (KeyError, ValueError):  # "Unknown": no limit
        return None


def _scontrol(job: str) -> str | None:
    try:
        done = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", job],
            capture_output=True,
            text=True,
            timeout=SCONTROL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
