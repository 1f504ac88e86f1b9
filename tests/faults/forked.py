"""Small runs on forked processes for the tests here, and what is expected of two that must not differ."""

from pathlib import Path
from typing import Any

from bench.forked_run import ForkedRun
from tests.trainer.datasets import write_token_dataset

ROWS = 62
"""Of the data: with batches of 8 rows the first epoch ends within step 8, the fourth with step 31."""


def write_rows(folder: Path, rows: int = ROWS, **fields: Any) -> Path:
    """A token dataset of so many rows, with its tokenizer inside; returns its folder."""
    tokens, tokenizer = write_token_dataset(folder, shards=(rows - 22, 22), validation_rows=6, **fields)
    return tokenizer.rename(tokens / "tokenizer.json").parent


def assert_same_course(run: ForkedRun, undisturbed: ForkedRun) -> None:
    """Bit for bit: losses, norms, learning rates and validations of all steps, the rows of each, the final weights."""
    for own, expected in zip(run.measured(), undisturbed.measured(), strict=True):
        assert own == expected
    assert run.rows() == undisturbed.rows()
    assert run.weights() == undisturbed.weights()
