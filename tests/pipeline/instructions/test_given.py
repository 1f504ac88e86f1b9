"""Conversations in the forms that people have them in."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pipeline.errors import UserError
from pipeline.instructions.given import messages_of, write_given

PAIR = [("user", "Why?"), ("assistant", "Because.")]
MESSAGES = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]}
SHAREGPT = {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]}
ALPACA = {"instruction": "Why?", "input": "", "output": "Because."}


def write(path: Path, content: bytes | list[Any]) -> str:
    if isinstance(content, list):
        content = b"\n".join(json.dumps(record).encode() for record in content)
    path.write_bytes(content)
    return str(path)


def conversations(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "conversations.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("record", [MESSAGES, SHAREGPT, ALPACA])
def test_every_form_gives_the_same_messages(record: dict[str, Any]) -> None:
    assert messages_of(record) == PAIR


def test_a_system_message_may_stand_beside_the_turns() -> None:
    assert messages_of({**SHAREGPT, "system": "Be brief."}) == [("system", "Be brief."), *PAIR]


def test_the_input_of_an_alpaca_record_follows_its_instruction() -> None:
    assert messages_of({**ALPACA, "input": "It rains."})[0] == ("user", "Why?\n\nIt rains.")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (["list"], "not an object but a list"),
        ({"text": "x"}, "has neither `messages`"),
        ({"messages": "x"}, "is not a list of turns"),
        ({"messages": [{"role": "user"}]}, "turn 1 of `messages` has no `role` and `content`"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "turn 1: unknown role 'tool'"),
        ({"messages": [{"role": "user", "content": 3}]}, "turn 1: `content` is not a text but a int"),
        ({"messages": [{"role": "user", "content": "x"}]}, "no message of the assistant"),
        ({"instruction": "x", "output": " "}, "empty message of the assistant"),
        ({"instruction": None, "output": "x"}, "instruction is not a text but a NoneType"),
    ],
)
def test_a_record_that_cannot_be_used_says_why(record: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        messages_of(record)


@pytest.mark.parametrize("form", ["lines", "array", "gzip", "zstandard", "with a byte order mark"])
def test_lines_arrays_and_compressed_files_are_read(tmp_path: Path, form: str) -> None:
    lines = b"\n".join(json.dumps(record).encode() for record in (MESSAGES, SHAREGPT, ALPACA)) + b"\n"
    content = {
        "lines": lines,
        "array": json.dumps([MESSAGES, SHAREGPT, ALPACA], indent=1).encode(),
        "gzip": gzip.compress(lines),
        "zstandard": zstandard.compress(lines),
        "with a byte order mark": b"\xef\xbb\xbf" + lines,
    }[form]
    manifest = write_given(write(tmp_path / "data", content), str(tmp_path / "out"), 0.0)
    assert manifest["conversations"] == 3
    assert conversations(tmp_path / "out")[2] == {
        "id": f"data {'item' if form == 'array' else 'line'} 3",
        "messages": MESSAGES["messages"],
    }


def test_ids_of_records_are_kept(tmp_path: Path) -> None:
    write_given(write(tmp_path / "data", [{**MESSAGES, "id": "first"}]), str(tmp_path / "out"), 0.0)
    assert conversations(tmp_path / "out")[0]["id"] == "first"


def test_broken_records_are_quarantined_with_their_place(tmp_path: Path) -> None:
    data = write(tmp_path / "data", json.dumps(MESSAGES).encode() + b'\n\n{"half\n[1]\n')
    manifest = write_given(data, str(tmp_path / "out"), 0.9)
    assert (manifest["conversations"], manifest["quarantined"]) == (1, 2)
    entries = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert [entry["line"] for entry in entries] == ["line 3", "line 4"]
    assert "is not JSON" in entries[0]["reason"]


def test_too_many_broken_records_end_the_job_naming_the_first(tmp_path: Path) -> None:
    data = write(tmp_path / "data", [MESSAGES, {"text": "x"}])
    with pytest.raises(UserError, match=r"1 of 2 records .* line 2: has neither"):
        write_given(data, str(tmp_path / "out"), 0.1)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"[1, ", "begins like a JSON array but is none"),
        (gzip.compress(b"x" * 1000)[:-9], "cut short"),
        (zstandard.compress(b"{}\n" * 1000)[:-4], "cut short"),
    ],
)
def test_a_damaged_or_empty_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=f"data.*{message}"):
        write_given(write(tmp_path / "data", content), str(tmp_path / "out"), 1.0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        write_given(str(tmp_path / "nowhere"), str(tmp_path / "out"), 0.0)


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    data = write(tmp_path / "data", rb'{"instruction": "a\ud800", "output": "b"}')
    write_given(data, str(tmp_path / "out"), 0.0)
    assert conversations(tmp_path / "out")[0]["messages"][0]["content"] == "a�"


def test_conversations_are_made_again_only_when_the_file_changed(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    first = write_given(write(data, [MESSAGES]), str(out), 0.0)
    written = (out / "conversations.jsonl").stat().st_mtime_ns
    assert write_given(str(data), str(out), 0.0) == first
    assert (out / "conversations.jsonl").stat().st_mtime_ns == written
    assert write_given(write(data, [MESSAGES, ALPACA]), str(out), 0.0)["conversations"] == 2
