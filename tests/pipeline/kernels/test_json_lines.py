"""Columns of JSON lines: what Python's parser reads from them, and no broken line is taken."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.json_columns import columns_of

FIELDS = ("text", "id", "url", "language")
characters = st.sampled_from('ab"\\/\b\f\n\r\t\x00\x1f\x7fé这😀{}:,')


def texts_of(lines: list[bytes]) -> list[str] | None:
    found = columns_of(b"\n".join(lines), FIELDS)
    return None if found is None else found[0]["text"].to_pylist()


@settings(deadline=None)
@given(st.lists(st.text(characters, max_size=40), min_size=1, max_size=6), st.booleans(), st.sampled_from(["", " \t"]))
def test_texts_are_those_that_were_written(texts: list[str], ascii: bool, space: str) -> None:
    rows = [json.dumps({"id": str(row), "text": text}, ensure_ascii=ascii) for row, text in enumerate(texts)]
    lines = [row.replace('{"id":', f'{{{space}"id"{space}:{space}', 1).encode() + space.encode() for row in rows]
    assert texts_of(lines) == texts


@pytest.mark.parametrize("escape", ['\\"', "\\n", "\\u00e9", "\\ud83d\\ude00", "\\\\", "\\/"])
def test_an_escape_is_seen_at_each_place_of_the_eight_bytes_looked_at_together(escape: str) -> None:
    for before in range(20):
        text = "x" * before + escape + "y" * 9
        assert texts_of([b'{"text":"%s"}' % text.encode()]) == [json.loads(f'"{text}"')]


def test_a_line_cut_anywhere_is_refused() -> None:
    line = b'{"text": "one \\u00e9 \\ud83d\\ude00 \\"two\\"", "url": null}'
    assert texts_of([line, line]) is not None
    for end in range(len(line)):
        assert texts_of([line, line[:end]]) is None
        assert texts_of([line[:end], line]) is None


@pytest.mark.parametrize(
    "value",
    [b'"\\x"', b'"\\u12"', b'"\\u12g4"', b'"\\ud800"', b'"\\udc00"', b'"\\ud800\\u0041"', b'"a\x1fb"', b'"a\nb"', b"1",
     b"nul", b"nulll", b'"a" "b"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"a"}, {"url": "b"'],
)  # fmt: skip
def test_what_is_no_text_is_refused(value: bytes) -> None:
    assert texts_of([b'{"text": "a"}', b'{"text": "a", "url": %s}' % value]) is None


def test_fields_of_other_names_than_plain_ones_are_not_tried() -> None:
    assert columns_of(b'{"a\\"": "x"}', ('a"', "id", "url", "language")) is None
    assert columns_of(b'{"texts": "x"}', FIELDS) is None
    assert columns_of(b'{"tex": "x"}', FIELDS) is None
    found = columns_of('{"这": "x", "": "y"}'.encode(), ("这", "", "url", "language"))
    assert found is not None
    assert found[0].to_pylist() == [{"text": "x", "id": "y", "url": None, "language": None}]


def test_an_empty_language_is_none() -> None:
    found = columns_of(b'{"text": "a", "language": "", "url": ""}\n{"text": "b", "language": "en"}', FIELDS)
    assert found is not None
    assert found[0]["language"].to_pylist() == [None, "en"]
    assert found[0]["url"].to_pylist() == ["", None]
