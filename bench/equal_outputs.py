"""Whether a deduplication writes the same bytes however it is run: workers, order of tasks, kills.

Compared are all tables, those of the survey and the drop logs included, by SHA-256; records hold times and are left
out. Killed means SIGKILL to the job's process group and to every process that it started, at once, as when a machine
stops: first while the band keys are made, then, of the run that continued, while pairs are verified.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from bench.harness import Measured, measure
from bench.killing import records, start_and_kill
from pipeline.corpus import CORPUS_MANIFEST
from pipeline.errors import UserError

PARTITION_KEYS = 20_000
"""So few that the pairs take several tasks."""
PHASES = ("bands", "verified")
"""Phases of the survey in which the job is killed."""


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
            start_and_kill(command, survey / phase, self._folder / "killed.log")
            done = {part.name: len(records(part)) for part in sorted(survey.iterdir()) if part.is_dir()}
            if (self._folder / name / "corpus" / CORPUS_MANIFEST).exists():
                raise UserError(f"the job ended before it could be killed in {phase}: give it more documents")
            found.append(", ".join(f"{part} {count}" for part, count in done.items()))
        measure(command)
        return self._digest(name), found

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
