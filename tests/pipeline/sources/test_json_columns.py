"""JSON Lines by columns: the same documents and the same quarantine as line by line, whatever the lines hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.shard import DOCUMENT_SCHEMA, documents_table
from pipeline.sources import files, jsonl
from pipeline.sources.json_columns import columns_of, rebatched
from pipeline.sources.jsonl import JsonLines
from pipeline.sources.source import BATCH_DOCUMENTS, BATCH_TEXT_BYTES, Quarantine, batched

FIELDS = ("text", "id", "url", "language")
PLAIN = b'{"id": "a", "text": "one \\u00e9 \\ud83d\\ude00 \\"two\\"\\n", "url": null, "language": ""}'
OTHERS = [
    b"", b" ", b'{"text": "x"}\r', b' {"text": "x"}', b'{"text": "x"} ', b'\xef\xbb\xbf{"text": "x"}',
    b'{"text": "x"}{"text": "y"}', b'{"text":', b'"x"}', b'{"text": "x", "text": "y"}', b'{"text": null}', b"{}", b"[]",
    b'{"text": "x", "id": 7}', b'{"text": "x", "more": {"a": 1}}', b'{"text": "x", "more": "y"}', b'{"text": ["x"]}',
    b'{"text": "\\ud800"}', b'{"text": "\xff"}', b'{"text": "\xed\xa0\x80"}', b'{"text": "a\x01b"}', b'{"text": NaN}',
    b'{"text": "x",}', b"{'text': 'x'}", b'{"te\\u0078t": "x"}', b'{"text": "\\u0000"}', b'{"text": "x" /* y */}',
    b'{"text": "x", "id": null}', b'{"text": "x", "language": 3}', b'{"text": "x", "url": ""}', b'{"text": "}\\"{"}',
]  # fmt: skip
texts = st.text(max_size=20)
objects = st.fixed_dictionaries({"text": texts}, optional={name: texts | st.none() for name in FIELDS[1:]})
plain_lines = st.builds(lambda row, ascii: json.dumps(row, ensure_ascii=ascii).encode("utf-8", "surrogatepass"),
                        objects, st.booleans())  # fmt: skip


def read_both_ways(path: Path, **fields: Any) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Documents and quarantine, by columns where possible, and line by line."""
    results = []
    for function in (columns_of, lambda block, fields: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jsonl, "columns_of", function)
            source, quarantine = JsonLines(path=str(path), **fields), Quarantine()
            rows = [
                row for part in source.plan() for table in source.read(part, quarantine) for row in table.to_pylist()
            ]
        results.append((rows, quarantine.entries))
    return results


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60
)
@given(
    lines=st.lists(plain_lines | st.sampled_from([PLAIN, *OTHERS]), max_size=8),
    block_bytes=st.sampled_from([1, 7, 40, 200, 1 << 20]),
    end=st.booleans(),
    language=st.sampled_from([None, "en"]),
)
@example(lines=OTHERS, block_bytes=1 << 20, end=True, language=None)
def test_both_ways_give_the_same(
    tmp_path: Path, lines: list[bytes], block_bytes: int, end: bool, language: str | None
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n" * end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_BYTES", block_bytes)
        by_columns, by_lines = read_both_ways(path, language=language, slice_bytes=50)
    assert by_columns == by_lines


@pytest.mark.parametrize("line", OTHERS)
def test_each_odd_line_among_plain_ones_is_read_as_ever(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([PLAIN, line, PLAIN]))
    by_columns, by_lines = read_both_ways(tmp_path)
    assert by_columns == by_lines
    assert len(by_columns[0]) >= 2


def test_plain_lines_are_read_by_columns() -> None:
    found = columns_of(b"\n".join([PLAIN] * 3), FIELDS)
    assert found is not None
    table, starts = found
    assert table["text"].to_pylist() == ['one é 😀 "two"\n'] * 3
    assert starts.tolist() == [0, len(PLAIN) + 1, 2 * len(PLAIN) + 2]


@pytest.mark.parametrize("objects_on_lines", [b'{"text": "a"}{"text": "b"}\n{"text": "c"}', b'{"text":\n"a"}\n{}{}'])
def test_lines_that_are_no_objects_are_refused_even_if_the_count_is_right(objects_on_lines: bytes) -> None:
    assert columns_of(objects_on_lines, FIELDS) is None


def test_a_document_above_the_limit_is_quarantined_by_columns_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "short"}\n{"text": "%s"}\n' % (b"x" * 101))
    by_columns, by_lines = read_both_ways(tmp_path, max_document_bytes=100)
    assert by_columns == by_lines
    assert len(by_columns[1]) == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, BATCH_TEXT_BYTES // 3), max_size=4), st.integers(0, 2 * BATCH_DOCUMENTS),
       st.integers(1, 700))  # fmt: skip
def test_batches_of_tables_are_those_of_documents(long: list[int], short: int, part: int) -> None:
    rows = [{"id": str(n), "text": "é" * n, "source": "s"} for n in [*long, *range(short), *long]]
    tables = [documents_table(rows[begin : begin + part]) for begin in range(0, len(rows), part)]
    found = list(rebatched(tables))
    assert [table.num_rows for table in found] == [table.num_rows for table in batched(rows)]
    assert pa.concat_tables([DOCUMENT_SCHEMA.empty_table(), *found])["id"].to_pylist() == [row["id"] for row in rows]
