"""The main job from raw text to a tuned model that answers: small, but every step and every stage is the real one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.jobs.test_cli import gptmill

HOSTILE = [
    "NUL \x00 in the middle of an otherwise fine sentence that is about the weather of the day.",
    "A lone surrogate \\ud83d stands in this sentence and the reader has to live with that.",
    "A line\u2028separator and a paragraph\u2029separator are in this sentence of the document.",
    "one megabyte-long line of the same words " * 25_000,
    "",
    "😀 中文 العربية ไทย 한국어",
]
RECIPE = {
    "run": "out",
    "workers": 2,
    "max_bad_fraction": 0.01,
    "sources": [
        {"python-docs": {"packages": ["numpy"], "standard_library": False, "max_files": 120, "files_per_slice": 40}},
        {"jsonl": {"path": "hostile.jsonl"}},
    ],
    "stages": [
        {"language": {"keep": ["en"], "min_score": 0.2}},
        {"gopher_quality": {"words_min": 10, "alphabetic_words_min": 0.4, "stop_words_min": 1}},
        {"gopher_repetition": {}},
        {"exact_dedup": {}},
        {"minhash_dedup": {}},
        {"perplexity": {"keep_percentile": [1, 99], "pieces": 512, "order": 3}},
        {"pii": {}},
    ],
    "tokenizer": {"vocab_size": 600},
    "tokens": {"context_length": 64, "validation_fraction": 0.05},
    "model": {"layers": 1, "width": 32, "heads": 2},
    "pretrain": {"global_batch_tokens": 512, "micro_batch_size": 4, "steps": 6, "checkpoint_every": 3},
    "questions": {"max_pairs": 60},
    "finetune": {"steps": 3, "batch_size": 8},
    "generate": {"max_new_tokens": 12},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole run was done once."""
    folder = tmp_path_factory.mktemp("whole")
    lines = [json.dumps({"text": text}).replace("\\\\ud83d", "\\ud83d") for text in HOSTILE]
    (folder / "hostile.jsonl").write_text("\n".join(lines))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    code, output = gptmill(folder, "run", "recipe.yaml")
    assert code == 0, output
    assert "Traceback" not in output
    assert "bits per byte (gzip -9:" in output
    return folder


def written(folder: Path) -> dict[str, int]:
    """Modification times of everything in the run but its log, recipe and report."""
    run = folder / "out"
    kept = {
        "events.jsonl",
        "recipe.yaml",
        "resolved.yaml",
        "overrides.yaml",
        "environment.json",
        ".lock",
        "report.html",
    }
    return {
        str(path.relative_to(run)): path.stat().st_mtime_ns
        for path in run.rglob("*")
        if path.is_file() and path.name not in kept
    }


def test_every_step_leaves_its_manifest_and_the_report_tells_of_all(folder: Path) -> None:
    run = folder / "out"
    for name in ("corpus", "tokenizer", "instructions", "pretrain", "finetune"):
        assert (run / name / "manifest.json").exists(), name
    assert (run / "tokens" / "tokens.json").exists()
    for name in ("recipe.yaml", "resolved.yaml", "overrides.yaml", "environment.json", "events.jsonl"):
        assert (run / name).exists(), name
    report = (run / "report.html").read_text()
    for word in ("minhash_dedup", "perplexity", "Pretraining", "Finetuning", "gzip"):
        assert word in report
    assert "http://" not in report.replace("http://www.w3.org", "")


def test_hostile_texts_are_kept_or_explained(folder: Path) -> None:
    offset = 0
    for line in (folder / "hostile.jsonl").read_bytes().split(b"\n"):
        code, output = gptmill(folder, "explain", "out", f"jsonl/hostile.jsonl@{offset}")
        assert code == 0, output
        assert "kept by" in output or "dropped" in output
        offset += len(line) + 1


def test_the_tuned_model_answers_and_the_same_seed_gives_the_same_answer(folder: Path) -> None:
    answers = [gptmill(folder, "generate", "out", "What is this?", "--seed", "3") for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0][0] == 0
    code, output = gptmill(folder, "generate", "out", "The array", "--raw", "--temperature", "0")
    assert code == 0
    assert output.startswith("The array")


def test_doing_it_again_does_nothing_and_a_changed_threshold_redoes_only_what_depends_on_it(folder: Path) -> None:
    before = written(folder)
    code, output = gptmill(folder, "run", "recipe.yaml")
    assert code == 0
    assert written(folder) == before
    code, output = gptmill(folder, "corpus", "recipe.yaml", "stages.minhash_dedup.threshold=0.7")
    assert code == 0, output
    changed = {name.split("/")[1] for name, time in written(folder).items() if before.get(name) != time}
    assert "02-minhash_dedup" in changed
    assert not changed & {"00-read", "01-exact_dedup"}
    assert "00-read/shard-00000.arrow" in {name.removeprefix("corpus/") for name in before}
