"""The same job on a Ray cluster that somebody else started: `RAY_ADDRESS` is all that differs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.test_cli import TOOL
from tests.pipeline.test_engine import digest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a one-node cluster of its own port and folder."""
    folder, port = tempfile.mkdtemp(prefix="ray-", dir="/tmp"), free_port()
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    node = ["--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={folder}"]
    started = subprocess.Popen(
        [*ray, "start", *node, "--node-ip-address=127.0.0.1", "--object-store-memory=100000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert started.stdout is not None
    said = []
    for line in started.stdout:
        said.append(line)
        if "--block" in line or "Ray runtime started" in line:
            break
    assert started.poll() is None, "".join(said)
    yield f"127.0.0.1:{port}"
    assert started.poll() is None, "the job left the cluster running"
    started.terminate()
    started.wait(timeout=30)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_job_joins_the_cluster_and_its_output_is_the_same(cluster: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        lines = [json.dumps({"text": f"document {row % 30} of file {number % 2}"}) for row in range(50)]
        (tmp_path / "in" / f"{number}.jsonl").write_text("\n".join(lines))
    source, stages = f"sources: [jsonl: {{path: {tmp_path}/in}}]\n", "stages: [exact_dedup, pii]\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for name, address in (("embedded", ""), ("joined", cluster)):
        (tmp_path / f"{name}.yaml").write_text(f"run: {tmp_path}/{name}\n{source}{stages}")
        done = subprocess.run(
            [*TOOL, "corpus", f"{name}.yaml"],
            cwd=tmp_path,
            env={**environment, "RAY_ADDRESS": address},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    outputs = {
        name: {path: value for path, value in digest(tmp_path / name / "corpus").items() if "survey" not in path}
        for name in ("embedded", "joined")
    }
    assert len(outputs["joined"]) > 10
    assert outputs["joined"] == outputs["embedded"]


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "recipe.yaml").write_text("run: out\nsources: [jsonl: {path: in.jsonl}]\n")
    address = f"127.0.0.1:{free_port()}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "RAY_ADDRESS": address}
    done = subprocess.run(
        [*TOOL, "corpus", "recipe.yaml"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert f"cannot join the Ray cluster RAY_ADDRESS={address}" in done.stderr
    assert "Traceback" not in done.stderr
