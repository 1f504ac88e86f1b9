"""Which source each target of a validation row belongs to."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.datasets import CONTEXT, write_token_dataset
from trainer.data.batch import TextPart
from trainer.data.mixed_rows import MixedRows
from trainer.data.token_dataset import VALIDATION, TokenRows, find_dataset

ENDS = ((4, CONTEXT), (3, 5, 9))
"""Documents of the rows in turn; the sources alternate within a row. The second kind of row is padded."""
SOURCES = {
    "news": {"documents": 10, "tokens": 45, "text_bytes": 100},
    "wiki": {"documents": 10, "tokens": 70, "text_bytes": 150},
}


def validation_rows(directory: Path, sources: dict[str, Any] | None = None, **fields: Any) -> TokenRows:
    tokens, _ = write_token_dataset(directory, **fields)
    if sources is not None:
        path = tokens / "tokens.json"
        manifest = json.loads(path.read_text())
        manifest["sources"] = sorted(sources)
        manifest["splits"]["validation"]["sources"] = sources
        path.write_text(json.dumps(manifest))
    return find_dataset(str(tokens)).rows(VALIDATION)


@pytest.fixture
def several(tmp_path: Path) -> TokenRows:
    return validation_rows(tmp_path / "several", SOURCES, ends=ENDS)


def test_a_dataset_of_several_sources_names_them_with_what_they_hold(several: TokenRows) -> None:
    assert several.text_parts == (TextPart(("news",), 45, 100), TextPart(("wiki",), 70, 150))


def test_targets_belong_to_the_source_of_their_document_and_padding_to_none(several: TokenRows) -> None:
    expected = [[0] * 4 + [1] * (CONTEXT - 4), [0] * 3 + [1] * 2 + [0] * 4 + [-1] * (CONTEXT - 9)]
    assert several.text_parts_of(np.array([2, 1, 0])).tolist() == [expected[0], expected[1], expected[0]]


def test_one_source_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    assert validation_rows(tmp_path / "unnamed").text_parts == ()
    alone = validation_rows(tmp_path / "alone", {"news": SOURCES["news"]}, ends=ENDS)
    assert alone.text_parts == ()
    assert set(alone.text_parts_of(np.arange(2)).flatten().tolist()) == {-1, 0}


def test_a_mixture_tells_its_datasets_apart_and_the_sources_of_each(tmp_path: Path, several: TokenRows) -> None:
    plain = validation_rows(tmp_path / "plain", ends=((9,),), validation_rows=5, seed=8)
    mixed = MixedRows([several, plain], interleaved=True, names=["a", "b"])
    assert mixed.text_parts == (
        TextPart(("a", "a/news"), 45, 100),
        TextPart(("a", "a/wiki"), 70, 150),
        TextPart(("b",), 45, plain.text_bytes or 0),
    )
    rows = np.arange(mixed.rows)
    places, batch = mixed.text_parts_of(rows), mixed.batch(rows)
    assert batch.mask is not None
    assert np.array_equal(places >= 0, batch.mask)
    counts = np.bincount(places[places >= 0]).tolist()
    assert counts == [5 * 4 + 5 * 7, 5 * 12 + 5 * 2, 5 * 9]
    of_plain = {row.tobytes() for row in plain.batch(range(5)).inputs}
    assert [row.tobytes() in of_plain for row in batch.inputs] == (places[:, 0] == 2).tolist()


def test_without_names_datasets_are_not_told_apart(tmp_path: Path, several: TokenRows) -> None:
    assert MixedRows([several, several]).text_parts == ()
