"""Whether a deduplication writes the same bytes however it is run: workers, order of tasks, kills.

Compared are all tables, those of the survey and the drop logs included, by SHA-256; records hold times and are left
out. Killed means SIGKILL to the job's process group and to every process that it started, at once, as when a machine
stops: first while the band keys are made, then, of the run that continued, while pairs are verified.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.harness import ROOT, Measured, measure
from pipeline.corpus import CORPUS_MANIFEST
from pipeline.errors import UserError

PARTITION_KEYS = 20_000
"""So few that the pairs take several tasks."""
RECORDS = 3
"""Of a phase, when the kill comes."""
PHASES = ("bands", "verified")
"""Phases of the survey in which the job is killed."""
POLL_SECONDS = 0.002
WAIT_SECONDS = 600


class Runs:
    """Runs of one deduplication of the same documents, in folders of their own below one."""

    def __init__(self, folder: Path, pattern: str, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._pattern = pattern
        self._settings = {**settings, "partition_keys": PARTITION_KEYS}
        folder.mkdir(parents=True, exist_ok=True)

    def with_workers(self, workers: int) -> tuple[str, Measured]:
        """The digest of what the command writes with so many workers, and what it cost."""
        name = f"workers-{workers}"
        measured = measure(self._command(name, workers))
        return self._digest(name), measured

    def shuffled(self, seed: int) -> str:
        """The digest of a run whose tasks were done in another order."""
        name = f"shuffled-{seed}"
        given = [self._pattern, str(self._fresh(name)), json.dumps(self._settings), str(seed)]
        measure([sys.executable, "-m", "bench.shuffled_run", *given])
        return self._digest(name)

    def killed(self) -> tuple[str, list[str]]:
        """The digest of a run that was killed in each of `PHASES` and started again, and where it was each time."""
        name, found = "killed", []
        command = self._command(name, 2)
        survey = self._folder / name / "corpus" / "01-minhash_dedup" / "survey"
        for phase in PHASES:
            self._start_and_kill(command, survey / phase)
            done = {part.name: len(_records(part)) for part in sorted(survey.iterdir()) if part.is_dir()}
            if (self._folder / name / "corpus" / CORPUS_MANIFEST).exists():
                raise UserError(f"the job ended before it could be killed in {phase}: give it more documents")
            found.append(", ".join(f"{part} {count}" for part, count in done.items()))
        measure(command)
        return self._digest(name), found

    def _start_and_kill(self, command: list[str], phase: Path) -> None:
        before = len(_records(phase))
        with (self._folder / "killed.log").open("ab") as log:
            job = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
            deadline = time.monotonic() + WAIT_SECONDS
            while len(_records(phase)) < before + RECORDS:
                if job.poll() is not None or time.monotonic() > deadline:
                    raise UserError(f"the job came to its end before {RECORDS} records of {phase}: see {log.name}")
                time.sleep(POLL_SECONDS)
            descendants = psutil.Process(job.pid).children(recursive=True)
            os.killpg(job.pid, signal.SIGKILL)
            for process in descendants:
                if process.is_running():
                    process.kill()
            job.wait()
            psutil.wait_procs(descendants, timeout=WAIT_SECONDS)

    def _command(self, name: str, workers: int) -> list[str]:
        run = self._fresh(name)
        recipe = self._folder / f"{name}.yaml"
        settings = {
            "run": str(run),
            "workers": workers,
            "sources": [{"jsonl": {"path": self._pattern}}],
            "stages": [{"minhash_dedup": self._settings}],
        }
        recipe.write_text(yaml.safe_dump(settings, sort_keys=False))
        return [sys.executable, "-c", "from jobs.cli import main; main()", "corpus", str(recipe)]

    def _fresh(self, name: str) -> Path:
        shutil.rmtree(self._folder / name, ignore_errors=True)
        return self._folder / name

    def _digest(self, name: str) -> str:
        corpus = self._folder / name / "corpus"
        digest = hashlib.sha256()
        for path in sorted(path for path in corpus.rglob("*") if path.suffix in (".arrow", ".parquet")):
            digest.update(f"{path.relative_to(corpus)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()


def _records(phase: Path) -> list[str]:
    """Names of the records of finished tasks in a folder."""
    return [name for name in os.listdir(phase) if name.endswith(".json")] if phase.is_dir() else []  # noqa: PTH208
