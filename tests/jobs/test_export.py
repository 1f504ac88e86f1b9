"""`gptmill export` and `gptmill import-model`, as a user calls them."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from jobs.cli import app
from tests.trainer.export.models import write_model_directory
from trainer.generate.generator import load_generator

transformers = pytest.importorskip("transformers")


def call(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return " ".join(result.output.split())


def test_a_runs_model_goes_to_transformers_and_back(tmp_path: Path) -> None:
    write_model_directory(tmp_path / "run" / "pretrain" / "model", {"kv_heads": 2})
    output = call("export", str(tmp_path / "run"), str(tmp_path / "exported"))
    assert "Llama, 40,480 parameters" in output
    assert "largest difference of a logit" in output
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    assert model.num_parameters() == 40_480

    call("import-model", str(tmp_path / "exported"), str(tmp_path / "model"))
    load_generator(tmp_path / "model", device="cpu")


def test_the_tuned_model_comes_first_and_either_can_be_named(tmp_path: Path) -> None:
    for step in ("pretrain", "finetune"):
        write_model_directory(tmp_path / "run" / step / "model", {})
    call("export", str(tmp_path / "run"), str(tmp_path / "tuned"))
    call("export", str(tmp_path / "run"), str(tmp_path / "raw"), "--step", "pretrain")
    templates = [
        transformers.AutoTokenizer.from_pretrained(tmp_path / name).chat_template is not None
        for name in ("tuned", "raw")
    ]
    assert templates == [True, False]
    call("export", str(tmp_path / "run" / "finetune" / "model"), str(tmp_path / "named"))
    assert (tmp_path / "named" / "tokenizer_config.json").read_text() == (
        tmp_path / "tuned" / "tokenizer_config.json"
    ).read_text()


def test_a_run_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="has no finished model of finetune: run `gptmill run`"):
        call("export", str(tmp_path), str(tmp_path / "exported"), "--step", "finetune")


def test_a_damaged_model_is_told(tmp_path: Path) -> None:
    write_model_directory(tmp_path / "run" / "pretrain" / "model", {})
    torch.save({}, tmp_path / "run" / "pretrain" / "model" / "model.json")
    with pytest.raises(Exception, match="holds no finished model"):
        call("export", str(tmp_path / "run"), str(tmp_path / "exported"))
