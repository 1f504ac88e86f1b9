"""`gptmill import-tokens` and `export-tokens`, typed as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from jobs.exchange import tokens_settings
from pipeline.errors import SettingError
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from tests.jobs.test_cli import gptmill
from tests.pipeline.corpora import write_texts
from tests.pipeline.runner import SerialRunner


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer, and a Parquet file of 60 documents of its tokens."""
    corpus = write_texts(tmp_path / "corpus", [["sea shell shore " * 20]])
    train_tokenizer(TokenizerSettings(vocab_size=265), corpus, str(tmp_path / "tokenizer"), SerialRunner())
    rows = [[20 + number, *range(30, 30 + number)] for number in range(60)]
    parquet.write_table(pa.table({"input_ids": pa.array(rows, pa.list_(pa.int32()))}), tmp_path / "theirs.parquet")
    return tmp_path


def test_tokens_go_in_and_out(folder: Path) -> None:
    words = ("--tokenizer", "tokenizer/tokenizer.json", "context_length=64", "validation_fraction=0.2")
    code, output = gptmill(folder, "import-tokens", "theirs.parquet", "ours", *words, "packing=best_fit")
    assert code == 0, output
    assert "tokens to train on in ours" in output
    manifest = json.loads((folder / "ours" / "tokens.json").read_text())
    assert (manifest["context_length"], manifest["packing"], manifest["sources"]) == (
        64,
        "best_fit",
        ["theirs.parquet"],
    )
    assert sum(split["documents"] for split in manifest["splits"].values()) == 60

    code, output = gptmill(folder, "export-tokens", "ours", "out")
    assert code == 0, output
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        *("train.bin", "train.idx"),
        *("validation.bin", "validation.idx"),
    ]
    tokens = sum(1 + number + 1 for number in range(60))
    assert sum((folder / "out" / f"{split}.bin").stat().st_size for split in manifest["splits"]) == 2 * tokens
    code, output = gptmill(folder, "export-tokens", "ours", "out")
    assert code == 1
    assert "train.bin is there already and is not overwritten" in " ".join(output.split())


def test_help_teaches(folder: Path) -> None:
    code, output = gptmill(folder, "import-tokens", "--help")
    assert code == 0
    for word in ("Megatron", "Parquet", "--tokenizer", "--documents", "end-of-text", "context_length=2048"):
        assert word in output


def test_mistakes_are_one_line_and_leave_no_dataset(folder: Path) -> None:
    code, output = gptmill(folder, "import-tokens", "nothing", "ours", "--tokenizer", "tokenizer/tokenizer.json")
    assert (code, len(output.splitlines())) == (2, 2)
    assert "no such file" in output
    code, output = gptmill(folder, "export-tokens", "corpus", "out")
    assert code == 1
    assert "has no tokens.json" in output
    assert not (folder / "ours" / "tokens.json").exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("packing", r"packing: settings are given as key=value"),
        ("contextlength=5", r"contextlength is no setting of tokens: did you mean context_length\?"),
        ("zzz=5", r"zzz is no setting of tokens: known are context_length, packing"),
        ("context_length=1", r"context_length: .*greater than or equal to 2, not 1"),
        ("packing=worst_fit", r"packing: Input should be 'split' or 'best_fit', not 'worst_fit'"),
    ],
)
def test_settings_that_are_none_are_refused(word: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        tokens_settings([word])
