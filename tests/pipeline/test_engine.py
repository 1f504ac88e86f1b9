"""The engine on a real Ray: same bytes for any number of workers, faults contained, nothing left behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.corpus import build_corpus
from pipeline.engine import Engine
from pipeline.errors import Interrupted, ShardsFailed
from pipeline.interrupts import StopRequest
from pipeline.progress import Silent
from pipeline.sources.jsonl import JsonLines
from pipeline.stage import Task
from tests.pipeline.stages_for_tests import DropLong, DropRareLengths, KillOnce, Shout, fail_with

SHARDS = 8


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(workers=2) as engine:
        yield engine


@pytest.fixture
def source(tmp_path: Path) -> JsonLines:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(SHARDS):
        lines = [json.dumps({"text": "word " * (row % 7 + number % 2)}) for row in range(50)]
        (folder / f"{number}.jsonl").write_text("\n".join(lines))
    return JsonLines(path=str(folder))


def digest(directory: Path) -> dict[str, str]:
    """SHA-256 of every output; the records are left out, they hold the seconds each shard took."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not (path.name.startswith("shard-") and path.suffix == ".json")
    }


def test_output_is_byte_identical_for_one_and_two_workers_and_a_killed_worker(
    engine: Engine, source: JsonLines, tmp_path: Path
) -> None:
    marker = tmp_path / "killed"
    stages = [DropLong(), DropRareLengths(), Shout()]
    # Without a marker KillOnce kills nobody.
    quiet, killing = KillOnce(marker=""), KillOnce(marker=str(marker))
    build_corpus([source], [quiet, *stages], str(tmp_path / "two"), engine, 0.0)
    build_corpus([source], [killing, *stages], str(tmp_path / "killed-once"), engine, 0.0)
    engine.close()
    with Engine(workers=1) as single:
        build_corpus([source], [quiet, *stages], str(tmp_path / "one"), single, 0.0)
    assert marker.exists(), "the worker was really killed"
    outputs = {name: digest(tmp_path / name) for name in ("one", "two", "killed-once")}
    assert len(outputs["one"]) > 2 * SHARDS
    assert outputs["one"] == outputs["two"]
    # The manifest names the stage's settings, among them the marker; all data is equal.
    different = {name for name in outputs["one"] if outputs["one"][name] != outputs["killed-once"][name]}
    assert different <= {"00-read/stage.json"}


def test_faults_fail_their_task_alone_and_only_passing_ones_are_repeated(engine: Engine, tmp_path: Path) -> None:
    def task(kind: str) -> Task:
        arguments = {"kind": kind, "marker": str(tmp_path / f"{kind}.attempts")}
        return Task(key=kind, function=fail_with, arguments=arguments, inputs=kind)

    directory = str(tmp_path / "out")
    with pytest.raises(ShardsFailed, match=r"1 of 3 tasks failed.*value: ValueError: bad value in record 7"):
        engine.map(directory, "try", [task("fine"), task("value"), task("hiccup")])
    attempts = {path.stem: len(path.read_text().split()) for path in tmp_path.glob("*.attempts")}
    assert attempts == {"fine": 1, "value": 1, "hiccup": 3}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fine.json", "hiccup.json"]
    records = engine.map(directory, "again", [task("fine"), task("hiccup")])
    assert [record["kind"] for record in records] == ["fine", "hiccup"]
    assert len((tmp_path / "fine.attempts").read_text().split()) == 1, "finished tasks are not run again"


class Course(Silent):
    """Notes the order in which things happen."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def begin(self, label: str, weights: int, finished: int, tasks: int) -> None:
        self.events.append("begin")


def test_kernels_are_compiled_before_the_progress_bar_starts_and_not_for_finished_tasks(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = Course()
    monkeypatch.setattr("pipeline.engine.ensure_compiled", lambda names, say: course.events.append(",".join(names)))
    arguments = {"kind": "fine", "marker": str(tmp_path / "attempts")}
    task = Task(key="fine", function=fail_with, arguments=arguments, inputs="", kernels=("words",))
    monkeypatch.setattr(engine, "_progress", course)
    for _ in range(2):
        engine.map(str(tmp_path / "out"), "once", [task])
    assert course.events == ["words", "begin"]


def test_a_stop_request_finishes_running_tasks_and_the_next_run_continues(
    engine: Engine, source: JsonLines, tmp_path: Path
) -> None:
    stop = StopRequest()
    stop.pending = True
    engine.close()
    with (
        Engine(workers=1, stop=stop) as stopping,
        pytest.raises(Interrupted, match="tasks are left; the same command continues"),
    ):
        build_corpus([source], [Shout()], str(tmp_path / "corpus"), stopping, 0.0)
    build_corpus([source], [Shout()], str(tmp_path / "corpus"), engine, 0.0)
    assert (tmp_path / "corpus" / "manifest.json").exists()


BUILD = """
import sys
from pipeline.corpus import build_corpus
from pipeline.engine import Engine
from pipeline.sources.jsonl import JsonLines
from tests.pipeline.stages_for_tests import DropLong, KillOnce, Shout
with Engine(workers=2) as engine:
    stages = [KillOnce(marker="", seconds=float(sys.argv[3])), DropLong(), Shout()]
    build_corpus([JsonLines(path=sys.argv[1])], stages, sys.argv[2], engine, 0.0)
"""


def test_a_job_killed_with_minus_9_resumes_to_the_same_bytes_and_leaves_no_process(
    source: JsonLines, tmp_path: Path
) -> None:
    def start(name: str, seconds: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", BUILD, source.path, str(tmp_path / name), str(seconds)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)

    killed = start("killed", 2.0)  # a shard: the test may be held up for some of these
    first_record = tmp_path / "killed" / "00-read" / "shard-00000.json"
    deadline = time.monotonic() + 60
    while not first_record.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = [child for child in psutil.Process(killed.pid).children(recursive=True) if child.name() == "raylet"]
    assert family
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    done = sorted(path.name for path in first_record.parent.glob("shard-*.json"))
    assert 0 < len(done) < SHARDS
    # The same settings as the killed run: the stage that sleeps has a fixed fingerprint.
    for name in ("killed", "whole"):
        process = start(name, 0.0)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
        assert errors == b"", "an embedded Ray says nothing"
    outputs = {name: digest(tmp_path / name) for name in ("killed", "whole")}
    different = {name for name in outputs["whole"] if outputs["whole"][name] != outputs["killed"].get(name)}
    assert different == set()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive, "the killed job's Ray is gone"
    assert not list(Path("/tmp").glob(f"gptmill-ray-{killed.pid}-*")), "and so are its files, since the next start"
