"""What a validation says: the same in every layout, of the whole and of each source."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.data.test_text_parts import ENDS, SOURCES, validation_rows
from tests.trainer.datasets import CONTEXT
from trainer.data.batch import Batch
from trainer.data.mixed_rows import MixedRows
from trainer.data.token_dataset import TokenRows
from trainer.parallel.layout import Layout
from trainer.validation import Validation, validate


class EngineThatKnows:
    """The loss of a target is a hundredth of its id; 0 where it does not count, as an engine's."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.batches = layout, 0

    def measure(self, batch: Batch) -> torch.Tensor:
        self.batches += 1
        losses = batch.targets / 100.0
        return torch.from_numpy(losses if batch.mask is None else losses * batch.mask).float()


class OneOfMany:
    """Ranks of a world whose processes are run one after the other: what they sum is gathered here."""

    def __init__(self, rank: int, total: list[float] | None) -> None:
        self.rank, self.total, self.given = rank, total, np.zeros(0)

    def sum(self, values: list[float]) -> list[float]:
        self.given = np.array(values)
        return [1.0] * len(values) if self.total is None else self.total


def validated(source: Any, layout: Layout, limit: int | None = None) -> list[Validation]:
    """By rank; every process must measure equally often."""
    engines = [EngineThatKnows(layout) for _ in range(layout.world)]
    ranks = [OneOfMany(rank, None) for rank in range(layout.world)]
    for engine, one in zip(engines, ranks, strict=True):
        validate(engine, one, source, limit)  # type: ignore[arg-type]
    assert len({engine.batches for engine in engines}) == 1
    total = np.sum([one.given for one in ranks], axis=0).tolist()
    found = [validate(engine, OneOfMany(rank, total), source, limit) for rank, engine in enumerate(engines)]  # type: ignore[arg-type]
    return [one for one in found if one is not None]


@pytest.fixture
def rows(tmp_path: Path) -> TokenRows:
    return validation_rows(tmp_path, SOURCES, ends=ENDS, validation_rows=11)


def test_a_validation_ends_early_when_asked_to_but_not_after_its_last_batch(rows: TokenRows) -> None:
    engine, asked = EngineThatKnows(Layout(1, 1, 1, 1, 8, 4)), [False, True]
    assert validate(engine, OneOfMany(0, None), rows, asked_to_stop=lambda: asked.pop(0)) is None  # type: ignore[arg-type]
    assert engine.batches == 2
    assert validate(engine, OneOfMany(0, None), rows, limit=4, asked_to_stop=lambda: True) is not None  # type: ignore[arg-type]


LAYOUTS = [
    Layout(1, 1, 1, 1, 8, 8),
    Layout(2, 1, 1, 3, 8, 2),
    Layout(4, 1, 1, 1, 8, 1),
    Layout(1, 2, 2, 1, 8, 3),
    Layout(2, 2, 2, 1, 8, 2),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("limit", [None, 5])
def test_each_row_counts_once_in_every_layout(rows: TokenRows, layout: Layout, limit: int | None) -> None:
    batch = rows.batch(range(limit or rows.rows))
    assert batch.mask is not None
    places = rows.text_parts_of(np.arange(limit or rows.rows))
    for found in validated(rows, layout, limit):
        assert found.tokens == batch.mask.sum()
        assert found.loss == pytest.approx(batch.targets[batch.mask].mean() / 100, rel=1e-6)
        assert found.perplexity == pytest.approx(math.exp(found.loss))
        assert list(found.by_source) == ["news", "wiki"]
        for place, measured in enumerate(found.by_source.values()):
            own = places == place
            assert measured.tokens == own.sum()
            assert measured.loss == pytest.approx(batch.targets[own].mean() / 100, rel=1e-6)


def test_bits_per_byte_is_of_the_text_of_the_targets(rows: TokenRows) -> None:
    (found,) = validated(rows, LAYOUTS[0])
    assert rows.text_bytes is not None
    assert found.bits_per_byte == pytest.approx(found.loss * found.tokens / math.log(2) / rows.text_bytes)
    news = found.by_source["news"]
    assert news.bits_per_byte == pytest.approx(news.loss / math.log(2) * 45 / 100), "45 targets of 100 bytes"


def test_a_mixture_has_the_figures_of_each_dataset_and_its_sources(rows: TokenRows, tmp_path: Path) -> None:
    plain = validation_rows(tmp_path / "plain", ends=((9,),), validation_rows=5, seed=8)
    mixed = MixedRows([rows, plain], interleaved=True, names=["a", "b"])
    found = validated(mixed, LAYOUTS[1])[0]
    assert list(found.by_source) == ["a", "a/news", "a/wiki", "b"]
    (alone,), (other,) = validated(rows, LAYOUTS[0]), validated(plain, LAYOUTS[0])
    assert (found.by_source["a"].tokens, found.by_source["b"].tokens) == (alone.tokens, other.tokens)
    assert found.by_source["a"].loss == pytest.approx(alone.loss)
    assert found.by_source["b"].loss == pytest.approx(other.loss)
    assert found.by_source["a/wiki"].loss == pytest.approx(alone.by_source["wiki"].loss)


def test_what_was_not_measured_on_is_not_told(rows: TokenRows, tmp_path: Path) -> None:
    plain = validation_rows(tmp_path / "plain", ends=((9,),), validation_rows=1, seed=8)
    found = validated(MixedRows([rows, plain], interleaved=True, names=["a", "b"]), LAYOUTS[0], limit=2)[0]
    assert "b" not in found.by_source
    line = found.as_line()
    assert line["by_source"]["a"]["tokens"] == found.tokens == line["validation_tokens"]


def test_one_source_has_no_figures_of_its_own(tmp_path: Path) -> None:
    (found,) = validated(validation_rows(tmp_path), LAYOUTS[0])
    assert found.tokens == 10 * CONTEXT
    assert "by_source" not in found.as_line()


def test_a_hopeless_loss_has_an_infinite_perplexity() -> None:
    assert Validation(800.0, 1, None).perplexity == math.inf
