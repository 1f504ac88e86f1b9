"""What `--dry-run` says of a mixture, and what it refuses, before anything is done."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from jobs.run import run_steps
from tests.jobs.test_cli import gptmill
from tests.trainer.datasets import write_token_dataset

RECIPE = """
run: {run}
workers: 1
sources: [jsonl: {{path: in}}]
tokenizer: {{vocab_size: 300}}
tokens: {{context_length: 16}}
model: {{layers: 1, width: 16, heads: 2}}
pretrain:
  global_batch_tokens: 128
  {length}
  mixture:
    - {{name: own, weight: 3}}
    - {{name: other, data: {other}, weight: 1, max_epochs: 2}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with tokens and another one's, and a recipe that mixes them."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text(json.dumps({"text": "word " * 100}))
    _, tokenizer = write_token_dataset(tmp_path / "run")
    (tmp_path / "run" / "tokenizer").mkdir()
    tokenizer.rename(tmp_path / "run" / "tokenizer" / "tokenizer.json")
    write_token_dataset(tmp_path / "other", shards=(8,), fingerprint="data-2")
    write_recipe(tmp_path, "steps: 8", "other")
    return tmp_path


def write_recipe(folder: Path, length: str, other: str) -> None:
    (folder / "recipe.yaml").write_text(RECIPE.format(run=folder / "run", length=length, other=folder / other))


def test_the_plan_tells_tokens_and_epochs_of_each_dataset(folder: Path) -> None:
    code, output = gptmill(folder, "pretrain", "recipe.yaml", "--dry-run")
    assert code == 0, output
    lines = [line.split() for line in output.splitlines()]
    # 8 steps of 8 rows: 48 of the run's own 64, 16 of the other's 8.
    assert ["own", "own", "768", "75.0%", "0.75"] in lines
    assert ["other", "other", "256", "25.0%", "2.00"] in lines


def test_a_mixture_that_cannot_be_drawn_is_refused_before_anything_is_done(folder: Path) -> None:
    write_recipe(folder, "steps: 9", "other")
    code, output = gptmill(folder, "pretrain", "recipe.yaml")
    assert code == 1
    assert "other would be gone through 2.25 times (288 tokens drawn of 128), its max_epochs is 2" in output
    assert not (folder / "run" / "pretrain").exists()


def test_a_dataset_that_is_not_there_is_refused_though_the_runs_own_is_still_to_be_made(folder: Path) -> None:
    write_recipe(folder, "steps: 8", "nowhere")
    code, output = gptmill(folder, "run", "recipe.yaml", "--dry-run")
    assert code == 1
    assert "nowhere/tokens.json does not exist" in output


def test_before_the_tokens_step_the_plan_is_left_open(folder: Path) -> None:
    (folder / "run" / "tokens" / "tokens.json").unlink()
    code, output = gptmill(folder, "run", "recipe.yaml", "--dry-run")
    assert code == 0, output
    assert "trained on" not in output
    code, output = gptmill(folder, "pretrain", "recipe.yaml", "--dry-run")
    assert code == 1
    assert "tokens.json does not exist: the token dataset was not finished; run the tokens step" in output


def test_weights_without_a_length_are_an_error_of_the_recipe(folder: Path) -> None:
    write_recipe(folder, "log_every: 1", "other")
    code, output = gptmill(folder, "pretrain", "recipe.yaml", "--dry-run")
    assert code == 2
    assert "recipe.yaml:8: pretrain: mixture: with weights the run's length must be given: steps or tokens" in output


def test_a_cache_that_is_too_small_for_what_must_be_fetched_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = fsspec.filesystem("memory")
    manifest = json.loads((folder / "other" / "tokens" / "tokens.json").read_text())
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            shard["file_bytes"] = 3_000_000
    memory.pipe_file("/plan/tokens.json", json.dumps(manifest).encode())
    monkeypatch.chdir(folder)
    fields = ["pretrain.mixture.1.data=memory://plan", "pretrain.shard_cache_bytes=5000000"]
    run_steps("recipe.yaml", fields, last="pretrain", dry_run=True, alone=True)
    assert "6.0 MB lie in object stores and pretrain.shard_cache_bytes is 5.0 MB" in capsys.readouterr().err
    fields[1] = "pretrain.shard_cache_bytes=6000000"
    run_steps("recipe.yaml", fields, last="pretrain", dry_run=True, alone=True)
    assert "lie in object stores" not in capsys.readouterr().err
    memory.rm("/plan", recursive=True)


def test_rows_that_are_not_as_long_as_the_recipe_says_are_refused(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("context_length: 16", "context_length: 32"))
    code, output = gptmill(folder, "pretrain", "recipe.yaml", "--dry-run")
    assert code == 2
    assert "has rows of 16 tokens, the recipe's tokens.context_length is 32: run the tokens step again" in output


def test_a_named_cluster_is_planned_for_without_the_data(folder: Path) -> None:
    (folder / "run" / "tokens" / "tokens.json").unlink()
    words = ("pretrain", "recipe.yaml", "--dry-run", "--devices", "4", "--device", "a100")
    code, output = gptmill(folder, *words)
    assert code == 0, output
    assert "4 processes = data 4 x pipeline 1 x tensor 1, ZeRO-1, bf16" in output
    assert "tokens.json does not exist" in output
    assert "fit the 40.0 GB of A100" in output
