"""Full and read-only disks: one clear line, finished shards are kept, the run goes on when the disk is mended."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.test_cli import gptmill
from tests.small_disk import mounted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with mounted(tmp_path / "disk", megabytes=1) as disk:
        yield disk


def test_a_full_disk_is_named_and_the_run_continues_when_there_is_space(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    draw = random.Random(0)
    for number in range(8):
        lines = [json.dumps({"text": draw.randbytes(100).hex()}) for _ in range(1000)]
        (tmp_path / "in" / f"{number}.jsonl").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(f"run: {small_disk}/run\nworkers: 1\nsources:\n  - jsonl: {{path: in}}\n")
    code, output = gptmill(tmp_path, "corpus", "recipe.yaml")
    assert code == 1
    assert "No space" not in output, "the system's words are translated"
    assert "the disk is full: free some space and run the same command again; finished shards are kept" in output
    assert "Traceback" not in output
    stage = small_disk / "run" / "corpus" / "00-read"
    assert 0 < len(list(stage.glob("shard-*.json"))) < 8
    assert not list(stage.glob(".tmp-*")), "no rubbish fills the disk"
    assert not list(small_disk.rglob("stage.json"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    code, output = gptmill(tmp_path, "corpus", "recipe.yaml")
    assert code == 0
    assert "is done already" in output


def test_a_read_only_disk_is_named(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "recipe.yaml").write_text(f"run: {small_disk}/run\nsources:\n  - jsonl: {{path: in.jsonl}}\n")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, output = gptmill(tmp_path, "corpus", "recipe.yaml")
    assert code == 1
    assert f"{small_disk}/run" in output
    assert "the file system is read-only: choose another `run:` directory" in output
    assert "Traceback" not in output
