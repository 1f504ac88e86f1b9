"""Arrow arrays and numpy's: the same values both ways, and pandas is not imported for them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arrays import arrow_array, empty_table, number_array, numpy_array, repeated_text, text_array

SCRIPT = """
import sys
from pathlib import Path
from tests.pipeline.runner import SerialRunner
from pipeline.dedup.minhash import MinhashDedup
from pipeline.corpus import build_corpus
from pipeline.sources.jsonl import JsonLines
folder = Path(sys.argv[1])
lines = ['{"text": "one two three four five six %d"}' % (number // 2) for number in range(20)]
(folder / "a.jsonl").write_text("\\n".join(lines))
build_corpus([JsonLines(path=str(folder))], [MinhashDedup()], str(folder / "run"), SerialRunner(), 0.0)
print("pandas" in sys.modules)
"""


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int32, np.float64, np.bool_])
@given(st.lists(st.integers(0, 1), max_size=20), st.integers(0, 20))
def test_numbers_go_both_ways_sliced_or_in_chunks(kind: type, numbers: list[int], cut: int) -> None:
    values: np.ndarray = np.array(numbers, kind)
    array = arrow_array(values)
    assert array.equals(pa.array(values))
    array.validate(full=True)
    assert numpy_array(array.slice(cut)).tolist() == values[cut:].tolist()
    assert numpy_array(pa.chunked_array([array[:cut], array[cut:]])).tolist() == values.tolist()


def test_an_array_that_is_not_contiguous_is_copied() -> None:
    values = np.arange(12).reshape(3, 4)[:, 1]
    assert arrow_array(values).to_pylist() == [1, 5, 9]


@given(st.lists(st.none() | st.integers(0, 9), max_size=20), st.integers(0, 20))
def test_nulls_become_what_is_asked_for_or_are_refused(numbers: list[int | None], cut: int) -> None:
    array = pa.array(numbers, pa.int64()).slice(cut)
    assert numpy_array(array, null=-1).tolist() == [-1 if value is None else value for value in numbers[cut:]]
    if array.null_count:
        with pytest.raises(ValueError, match="nulls"):
            numpy_array(array)


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=20))
def test_texts(texts: list[str | None]) -> None:
    text_array(texts).validate(full=True)
    assert text_array(texts).equals(pa.array(texts, pa.string()))


@given(st.lists(st.none() | st.floats(allow_nan=False), max_size=20))
def test_numbers_and_none(numbers: list[float | None]) -> None:
    assert number_array(numbers).equals(pa.array(numbers, pa.float64()))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_text_for_each_row(count: int) -> None:
    assert repeated_text("é这", count).to_pylist() == ["é这"] * count


def test_an_empty_table_has_the_schema() -> None:
    schema = pa.schema([pa.field("a", pa.string(), nullable=False), ("b", pa.list_(pa.int8()))], {"key": "value"})
    assert empty_table(schema).equals(schema.empty_table())
    assert empty_table(schema).schema.equals(schema, check_metadata=True)


def test_deduplication_does_not_import_pandas(tmp_path: object) -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True, capture_output=True, text=True)
    assert said.stdout == "False\n"
