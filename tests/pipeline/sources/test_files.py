"""JSON Lines, Parquet and text files: whatever is in them, every record is read or explained."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SettingError, UserError
from pipeline.sources.arrow import Arrow
from pipeline.sources.files import expand
from pipeline.sources.jsonl import JsonLines
from pipeline.sources.parquet import Parquet
from pipeline.sources.source import Source
from pipeline.sources.text import TextFiles, _pieces
from pipeline.sources.warc import Warc
from tests.pipeline.sources.reading import read

HOSTILE = ["\x00 NUL", "line\u2028separator\u2029", "x" * 3_000_000, "tab\tand\r\nCRLF", "😀 中文 العربية", ""]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "jsonl.zst"])
def test_hostile_texts_arrive_as_they_are(tmp_path: Path, ending: str) -> None:
    content = "".join(
        json.dumps({"text": text, "n": n}, ensure_ascii=n % 2 == 0) + "\n" for n, text in enumerate(HOSTILE)
    )
    data = content.encode()
    packed = {"jsonl": data, "jsonl.gz": gzip.compress(data), "jsonl.zst": zstandard.compress(data)}[ending]
    (tmp_path / f"a.{ending}").write_bytes(packed)
    documents, quarantine = read(JsonLines(path=str(tmp_path), slice_bytes=1_000_000))
    assert [document["text"] for document in documents] == HOSTILE
    assert quarantine.entries == []
    assert documents[4]["metadata"] == '{"n":4}'


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a \\ud800 b", "k": ["\\udfff"]}\n')
    documents, quarantine = read(JsonLines(path=str(tmp_path)))
    assert documents[0]["text"] == "a \ufffd b"
    assert documents[0]["metadata"] == '{"k":["\ufffd"]}'
    assert quarantine.entries == []


def test_metadata_are_json_whatever_numbers_a_record_holds(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "n": NaN, "m": -Infinity, "big": 1%s}\n' % ("0" * 30))
    documents, _ = read(JsonLines(path=str(tmp_path)))
    assert json.loads(documents[0]["metadata"], parse_constant=pytest.fail) == {"n": None, "m": None, "big": 10**30}


def test_broken_lines_are_quarantined_with_file_line_and_reason_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}',
        b"not json",
        b"[1, 2]",
        b'{"body": "x"}',
        b'{"text": 5}',
        b'{"text": "\xff"}',
        b"",
        b'{"text": "also good", "id": 7}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    documents, quarantine = read(JsonLines(path=str(tmp_path)))
    assert [(document["id"], document["text"]) for document in documents] == [
        ("jsonl/a.jsonl@0", "good"),
        ("7", "also good"),
    ]
    found = [(entry["line"], entry["reason"]) for entry in quarantine.entries]
    assert [line for line, _ in found] == [2, 3, 4, 5, 6]
    for (_, reason), expected in zip(
        found, ["not JSON", "not a JSON object but a list", "no `text` field", "not a text", "not UTF-8"], strict=True
    ):
        assert expected in reason
    assert all(entry["file"].endswith("a.jsonl") for entry in quarantine.entries)


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n\r"), max_size=30), min_size=1, max_size=30),
    slice_bytes=st.integers(1, 200),
    end=st.booleans(),
)
def test_cutting_a_file_into_slices_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], slice_bytes: int, end: bool
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    content = "\n".join(json.dumps({"text": line}) if line else "broken" for line in lines) + ("\n" if end else "")
    (folder / "a.jsonl").write_text(content, encoding="utf-8")
    whole, whole_quarantine = read(JsonLines(path=str(folder)))
    cut, cut_quarantine = read(JsonLines(path=str(folder), slice_bytes=slice_bytes))
    assert cut == whole
    assert cut_quarantine.entries == whole_quarantine.entries


@pytest.mark.parametrize("ending", ["gz", "zst"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_compressed_file_that_ends_early_is_named_and_never_taken_for_whole(
    tmp_path: Path, ending: str, share: float
) -> None:
    data = b"".join(b'{"text": "document %d"}\n' % number for number in range(5000))
    packed = gzip.compress(data) if ending == "gz" else zstandard.compress(data)
    (tmp_path / f"a.jsonl.{ending}").write_bytes(packed[: int(len(packed) * share)])
    with pytest.raises(UserError, match=rf"a\.jsonl\.{ending}: the \w+ data is damaged or cut short"):
        read(JsonLines(path=str(tmp_path)))


@pytest.mark.parametrize("place", [12, 3000, -5])
def test_a_gzip_file_with_a_wrong_byte_is_named(tmp_path: Path, place: int) -> None:
    data = b"".join(b'{"text": "document %d"}\n' % number for number in range(5000))
    packed = bytearray(gzip.compress(data))
    packed[place] ^= 0xFF
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    with pytest.raises(UserError, match=r"a\.jsonl\.gz: the gzip data is damaged or cut short"):
        read(JsonLines(path=str(tmp_path)))


def test_several_zstandard_frames_and_gzip_members_are_one_file(tmp_path: Path) -> None:
    parts = [b'{"text": "one"}\n{"te', b'xt": "two"}\n']
    (tmp_path / "a.jsonl.zst").write_bytes(b"".join(zstandard.compress(part) for part in parts))
    (tmp_path / "b.jsonl.gz").write_bytes(b"".join(gzip.compress(part) for part in parts))
    documents, _ = read(JsonLines(path=str(tmp_path)))
    assert [document["text"] for document in documents] == ["one", "two", "one", "two"]


def test_names_that_look_like_patterns_capitals_and_hidden_places(tmp_path: Path) -> None:
    line = '{"text": "one"}\n'
    names = ("data[1].jsonl", "UPPER.JSONL", ".hidden.jsonl", ".git/inside.jsonl", "below/a.jsonl", "other.csv")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(line)
    found = [file.removeprefix(f"{tmp_path}/") for file in expand(str(tmp_path), (".jsonl",))]
    assert found == ["UPPER.JSONL", "below/a.jsonl", "data[1].jsonl"]
    for named in ("data[1].jsonl", ".hidden.jsonl"):
        assert len(read(JsonLines(path=str(tmp_path / named)))[0]) == 1


def test_pages_with_an_ending_in_capitals_are_extracted(tmp_path: Path) -> None:
    (tmp_path / "A.HTML").write_text("<html><body><p>Only the words of the page.</p></body></html>")
    documents, _ = read(TextFiles(path=str(tmp_path), extract="resiliparse"))
    assert [document["text"] for document in documents] == ["Only the words of the page."]


@pytest.mark.parametrize("source", [JsonLines, Warc, Arrow])
def test_a_file_of_another_kind_is_refused_before_any_work(tmp_path: Path, source: type[Source]) -> None:
    parquet.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(SettingError, match=r"a\.parquet: is a Parquet file: use the source `parquet`"):
        source.model_validate({"path": str(tmp_path / "a.parquet")}).plan()


@pytest.mark.parametrize("path", ["", [], ["a.jsonl", ""], 5])
def test_no_path_is_a_bad_recipe_not_the_working_folder(path: Any) -> None:
    with pytest.raises(ValueError, match=r"^1 validation error for JsonLines\npath\n.*is no path: name a file"):
        JsonLines(path=path)


def test_no_document_may_be_larger_than_arrow_strings_hold() -> None:
    for source in (JsonLines, Warc):
        with pytest.raises(ValueError, match="max_document_bytes"):
            source.model_validate({"path": "a", "max_document_bytes": 1 << 31})


@pytest.mark.parametrize("source", [JsonLines, Parquet, TextFiles])
def test_a_missing_input_is_named(tmp_path: Path, source: type[Source]) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such file or folder"):
        source.model_validate({"path": str(tmp_path / "nowhere")}).plan()
    with pytest.raises(UserError, match=r"no file.* matches"):
        source.model_validate({"path": str(tmp_path)}).plan()


def test_parquet_is_read_by_row_groups_and_null_texts_are_quarantined(tmp_path: Path) -> None:
    texts = [f"text {number}" if number != 5 else None for number in range(10)]
    table = pa.table({"text": texts, "url": ["u"] * 10, "score": list(range(10))})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    documents, quarantine = read(Parquet(path=str(tmp_path), slice_bytes=1))
    assert len(Parquet(path=str(tmp_path), slice_bytes=1).plan()) == 4
    assert [document["text"] for document in documents] == [text for text in texts if text]
    assert documents[9 - 1]["id"] == "parquet/a.parquet#9"
    assert documents[0]["metadata"] == '{"score":0}'
    assert [(entry["line"], entry["reason"]) for entry in quarantine.entries] == [("row 5", "`text` is null")]


def test_a_parquet_file_without_the_text_column_or_with_a_cut_end_is_named(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"body": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: has no column `text`, only body"):
        Parquet(path=str(tmp_path)).plan()
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-5])
    with pytest.raises(UserError, match=r"a\.parquet: is damaged or is no Parquet file"):
        Parquet(path=str(tmp_path)).plan()


def test_text_files_are_documents_and_a_separator_cuts_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("one\n---\ntwo\n")
    (tmp_path / "b.md").write_bytes(b"bad \xff byte")
    (tmp_path / "c.txt").write_bytes(b"\xef\xbb\xbfwith mark")
    documents, quarantine = read(TextFiles(path=str(tmp_path), separator="---\n"))
    assert [(document["id"], document["text"]) for document in documents] == [
        ("text/c.txt#0", "with mark"),
        ("text/sub/a.txt#0", "one\n"),
        ("text/sub/a.txt#1", "two\n"),
    ]
    assert quarantine.entries[0]["line"] == "byte 4"


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(st.text("ab|", max_size=12), min_size=1, max_size=12),
    longest=st.integers(1, 20),
    block=st.integers(1, 5),
)
def test_separators_are_found_wherever_blocks_end_and_long_pieces_are_passed_over(
    pieces: list[str], longest: int, block: int
) -> None:
    content = "||".join(pieces).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.sources.files.BLOCK_BYTES", block)
        found = list(_pieces(io.BytesIO(content), b"||", longest))
    expected = content.split(b"||")
    assert [piece if len(piece) <= longest else None for _, piece in found] == [
        piece if len(piece) <= longest else None for piece in expected
    ]
    offset = 0
    for (begin, _), piece in zip(found, expected, strict=True):
        assert begin == offset
        offset += len(piece) + 2


def test_ids_stay_the_same_while_a_source_grows(tmp_path: Path) -> None:
    (tmp_path / "2024").mkdir()
    (tmp_path / "2025").mkdir()
    (tmp_path / "2024" / "a.jsonl").write_text('{"text": "one"}\n')
    pattern = JsonLines(path=str(tmp_path / "*" / "*.jsonl"))
    before = [document["id"] for document in read(pattern)[0]]
    assert before == ["jsonl/2024/a.jsonl@0"]
    (tmp_path / "2025" / "b.jsonl").write_text('{"text": "two"}\n')
    assert [document["id"] for document in read(pattern)[0]] == [*before, "jsonl/2025/b.jsonl@0"]
    assert [document["id"] for document in read(JsonLines(path=str(tmp_path / "2024" / "a.jsonl")))[0]] == [
        "jsonl/a.jsonl@0"
    ]
