"""A small run that the command can pretrain, and ways to start it as other launchers do."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.trainer.datasets import CONTEXT, write_token_dataset

ROOT = Path(__file__).parents[2]
GPTMILL = "import sys; from jobs.cli import main; main()"
RECIPE = f"""
run: run
sources: [{{jsonl: {{path: in.jsonl}}}}]
tokenizer: {{vocab_size: 300}}
tokens: {{context_length: {CONTEXT}}}
model: {{layers: 1, width: 16, heads: 2}}
pretrain:
  steps: 4
  global_batch_tokens: 128
  micro_batch_size: 4
  precision: fp32
  threads_per_process: 1
  log_every: 1
  parallel: {{data: 2}}
"""


def write_run(folder: Path) -> Path:
    """Recipe, token dataset and tokenizer of a run; returns the run's pretraining directory."""
    (folder / "in.jsonl").write_text('{"text": "x"}\n')
    (folder / "recipe.yaml").write_text(RECIPE)
    tokens, tokenizer = write_token_dataset(folder / "run", baselines={"validation_gzip9_bits_per_byte": 3.0})
    (folder / "run" / "tokenizer").mkdir()
    tokenizer.rename(folder / "run" / "tokenizer" / "tokenizer.json")
    assert tokens == folder / "run" / "tokens"
    return folder / "run" / "pretrain"


def command(*words: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", GPTMILL, "pretrain", "recipe.yaml", *words]


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1", **variables}


def start(folder: Path, words: list[str], **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def steps_measured(pretrain: Path) -> list[int]:
    lines = [json.loads(line) for line in (pretrain / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "loss" in line]


def events(pretrain: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (pretrain / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]
