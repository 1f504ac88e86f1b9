"""The command as a person meets it: what it prints, its exit codes, and what bad input does to a run."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOL = [sys.executable, "-c", "from jobs.cli import main; main()"]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [*TOOL, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def gptmill(folder: Path, *words: str) -> tuple[int, str]:
    """Exit code and everything printed."""
    process = start(folder, *words)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output + errors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small, valid recipe and its input."""
    (tmp_path / "in").mkdir()
    for number in range(6):
        lines = [json.dumps({"text": f"Some words of document {row} in file {number}. " * 5}) for row in range(20)]
        (tmp_path / "in" / f"{number}.jsonl").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(
        "run: out\nworkers: 2\nsources:\n  - jsonl: {path: in}\nstages:\n  - exact_dedup\n"
    )
    return tmp_path


def test_help_teaches_and_loads_neither_torch_nor_ray(folder: Path) -> None:
    code, output = gptmill(folder, "--help")
    assert code == 0
    for command in [
        "run",
        "corpus",
        "tokenizer",
        "tokens",
        "pretrain",
        "finetune",
        "generate",
        "chat",
        "stages",
        "doctor",
        "explain",
    ]:
        assert command in output
    assert "Exit codes" in output
    heavy = (
        "import sys, jobs.cli, jobs.recipe; print(sorted({'torch', 'ray', 'deepspeed', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout == "[]\n"


def test_stages_are_listed_from_their_classes(folder: Path) -> None:
    code, output = gptmill(folder, "stages")
    assert code == 0
    for name in ("python-docs", "jsonl", "language", "gopher_quality", "minhash_dedup", "pii"):
        assert f"\n{name}\n" in output
    assert "words_min = 50" in output


def test_two_mistakes_in_a_recipe_give_two_lines_and_exit_code_2(folder: Path) -> None:
    recipe = (
        (folder / "recipe.yaml").read_text().replace("workers: 2", "workrs: 2").replace("exact_dedup", "exact_ddup")
    )
    (folder / "recipe.yaml").write_text(recipe)
    code, output = gptmill(folder, "corpus", "recipe.yaml")
    assert code == 2
    assert "recipe.yaml:2: workrs: unknown key; did you mean `workers`?" in output
    assert "recipe.yaml:6: stages[0].exact_ddup: there is no stage `exact_ddup`" in output
    assert "Traceback" not in output
    assert not (folder / "out").exists(), "nothing was begun"


def test_a_missing_input_is_found_by_the_dry_run_too(folder: Path) -> None:
    for words in (["--dry-run"], []):
        code, output = gptmill(folder, "corpus", "recipe.yaml", "sources.jsonl.path=nowhere", *words)
        assert code == 2
        assert "error: nowhere: no such file or folder; correct the source's `path`" in output


def test_a_preferred_source_that_the_recipe_does_not_have_is_named(folder: Path) -> None:
    text = (folder / "recipe.yaml").read_text().replace("{path: in}", "{path: in, name: wikipedia}")
    (folder / "recipe.yaml").write_text(text.replace("exact_dedup", "exact_dedup: {keep_sources: [wikipeda]}"))
    code, output = gptmill(folder, "corpus", "recipe.yaml", "--dry-run")
    assert code == 2
    assert "exact_dedup: keep_sources: no source is named wikipeda; did you mean wikipedia?" in output


def test_a_dry_run_prints_the_plan_and_does_nothing(folder: Path) -> None:
    code, output = gptmill(folder, "corpus", "recipe.yaml", "--dry-run")
    assert code == 0
    assert "01-exact_dedup" in output
    assert not (folder / "out").exists()


def test_an_output_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "file").write_text("")
    code, output = gptmill(folder, "corpus", "recipe.yaml", "run=file/out")
    assert code == 1
    assert "file/out" in output
    assert "a file stands where a folder is needed" in output
    assert "Traceback" not in output


def test_a_second_job_is_refused_and_the_holder_is_named(folder: Path) -> None:
    from jobs.run_directory import RunDirectory, locked

    with locked(RunDirectory(str(folder / "out"))):
        code, output = gptmill(folder, "corpus", "recipe.yaml")
    assert code == 1
    assert f"in use by process {os.getpid()} of" in output
    code, output = gptmill(folder, "corpus", "recipe.yaml")
    assert code == 0, "the lock ended with its holder"
    assert "nothing to do" not in output
    code, output = gptmill(folder, "corpus", "recipe.yaml")
    assert "nothing to do" in output


def test_a_cut_file_fails_its_shard_alone_and_the_run_resumes(folder: Path) -> None:
    whole = gzip.compress(b"".join(b'{"text": "number %d of many"}\n' % row for row in range(9000)))
    (folder / "in" / "9.jsonl.gz").write_bytes(whole[:-2000])
    code, output = gptmill(folder, "corpus", "recipe.yaml")
    assert code == 1
    assert "9.jsonl.gz: the gzip data is damaged or cut short" in output
    assert "1 of 7 tasks failed, the others are finished and kept" in output
    (folder / "in" / "9.jsonl.gz").write_bytes(whole)
    code, output = gptmill(folder, "corpus", "recipe.yaml")
    assert code == 0
    assert "is done already" in output


SLOW_STAGE = """
import time
from pathlib import Path
from typing import ClassVar
from pipeline.stage import DocumentStage, Outcome

class Slow(DocumentStage):
    name: ClassVar[str] = "slow"

    def apply(self, documents, position):
        if documents.num_rows:
            first = not Path("FOLDER/begun").exists()
            Path("FOLDER/begun").touch()
            while not (first or Path("FOLDER/go on").exists()):
                time.sleep(0.05)
        return Outcome(documents)
"""


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_once_finishes_the_work_in_hand_and_twice_stops_at_once(folder: Path, presses: int) -> None:
    (folder / "slow.py").write_text(SLOW_STAGE.replace("FOLDER", str(folder)))
    recipe = (folder / "recipe.yaml").read_text().replace("  - exact_dedup", "  - 'slow:Slow'\n  - exact_dedup")
    (folder / "recipe.yaml").write_text(recipe.replace("workers: 2", "workers: 1"))
    process = start(folder, "corpus", "recipe.yaml")
    first = folder / "out" / "corpus" / "00-read" / "shard-00000.json"
    while not first.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = ""
    while "once more stops at once" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    if presses == 2:
        process.send_signal(signal.SIGINT)
    else:
        (folder / "go on").touch()
    output, errors = process.communicate(timeout=120)
    errors = said + errors
    (folder / "go on").touch()
    done = len(list((folder / "out" / "corpus" / "00-read").glob("shard-*.json")))
    assert done == 1 if presses == 2 else 1 < done < 6, "of six shards those in hand were finished, or not"
    assert process.returncode == 75
    assert "the same command continues" in output + errors
    assert ("stopped at once" in output + errors) == (presses == 2)
    assert "Traceback" not in output + errors
    assert not list((folder / "out").rglob("stage.json"))
    code, output = gptmill(folder, "corpus", "recipe.yaml")
    assert code == 0
    assert "is done already" in output


def test_generate_without_a_model_says_what_to_do(folder: Path) -> None:
    code, output = gptmill(folder, "generate", "out", "hello")
    assert code == 1
    assert "out has no finished model of the step finetune" in output


def test_a_layout_that_cannot_work_is_refused_before_anything_is_done(folder: Path) -> None:
    sections = "tokenizer: {vocab_size: 300}\ntokens: {context_length: 64}\nmodel: {preset: modern-3m}\n"
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text() + sections + "pretrain: {global_batch_tokens: 100, steps: 5}\n")
    code, output = gptmill(folder, "run", "recipe.yaml")
    assert code == 2
    assert "recipe.yaml:10: pretrain.global_batch_tokens: 100 tokens are no multiple of the context length 64" in output
    assert "the nearest is 128" in output
    assert not (folder / "out").exists()
    code, output = gptmill(folder, "run", "recipe.yaml", "pretrain.global_batch_tokens=128", "--dry-run")
    assert code == 0
    assert "5 steps, 640 tokens" in output
