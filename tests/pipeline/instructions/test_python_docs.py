"""Questions made of a small finished corpus."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.errors import UserError
from pipeline.instructions.python_docs import PythonDocsQuestions, questions, write_questions
from pipeline.shard import ArrowWriter, StageDirectory, documents_table, fingerprint

TEXT = """linear(input, weight, bias=None)

Apply a linear map to the incoming data.

It computes the product and adds the bias.

Args:
    input: the tensor of any shape that is mapped
    weight: the matrix, one row for each output
    bias: too short
    ghost: not a parameter of the function at all

Returns:
    The mapped tensor, of the shape of the input.
"""
ABOUT = {
    "kind": "function",
    "module": "torch.nn.functional",
    "package": "torch",
    "parameters": ["input", "weight", "bias"],
    "qualified_name": "torch.nn.functional.linear",
    "signature": "linear(input, weight, bias=None)",
}
SETTINGS = PythonDocsQuestions()


def asked(text: str = TEXT, settings: PythonDocsQuestions = SETTINGS, **about: Any) -> dict[str, tuple[str, str]]:
    found = questions(text, json.dumps({**ABOUT, **about}), settings)
    return {kind: (question, answer) for kind, question, answer in found}


def corpus(directory: Path, documents: list[tuple[str, dict[str, Any] | None]]) -> StageDirectory:
    """A finished stage directory with the given texts and metadata."""
    rows = [
        {"id": str(place), "text": text, "source": "s", "metadata": json.dumps(about) if about else None}
        for place, (text, about) in enumerate(documents)
    ]
    table = documents_table(rows)
    with storage.write_atomically(str(directory / "shard-00000.arrow")) as file:
        writer = ArrowWriter(file, table.schema)
        writer.write(table)
        sha256, size = writer.close()
    shard = {"name": "shard-00000", "rows": len(rows), "text_bytes": 1, "file_bytes": size, "sha256": sha256}
    manifest = {"format_version": 1, "fingerprint": fingerprint(rows), "shards": [shard]}
    storage.write_json(str(directory / "stage.json"), manifest)
    return StageDirectory(str(directory))


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "conversations.jsonl").read_text().splitlines()]


def test_a_function_is_asked_for_in_every_way_and_its_docstring_answers() -> None:
    answers = {kind: answer for kind, (_, answer) in asked().items()}
    parameter = answers.pop("parameter")
    assert answers == {
        "purpose": "Apply a linear map to the incoming data.\n\nIt computes the product and adds the bias.",
        "call": "Call it as `linear(input, weight, bias=None)`.",
        "parameters": (
            "- `input`: The tensor of any shape that is mapped.\n- `weight`: The matrix, one row for each output."
        ),
        "result": "The mapped tensor, of the shape of the input.",
        "module": "From `torch.nn.functional`: `from torch.nn.functional import linear`.",
    }
    assert parameter.startswith(("`input`: The tensor", "`weight`: The matrix"))


def test_questions_name_the_object() -> None:
    for kind, (question, _) in asked().items():
        assert ("`linear`" if kind == "module" else "`torch.nn.functional.linear`") in question


def test_phrasings_vary_over_objects_and_are_always_the_same_for_one() -> None:
    seen = {asked(qualified_name=f"a.b{number}")["purpose"][0].split("`")[0] for number in range(40)}
    assert len(seen) >= 4
    assert asked() == asked()


@pytest.mark.parametrize(
    ("text", "about"),
    [
        (TEXT, {"kind": "readme"}),
        (TEXT, {"qualified_name": "torch._private.linear"}),
        ("linear(input)\n\nTODO: write this text.", {"parameters": []}),
        ("linear(input)\n\n>>> only(code)", {"parameters": []}),
    ],
)
def test_readmes_private_objects_and_junk_explain_nothing(text: str, about: dict[str, Any]) -> None:
    assert "purpose" not in asked(text, **about)


def test_documents_of_other_sources_are_passed_over() -> None:
    assert list(questions("Text.", None, SETTINGS)) == []
    assert list(questions("Text.", '{"title": "web page"}', SETTINGS)) == []


def test_answers_keep_to_the_limits_of_words() -> None:
    limits = PythonDocsQuestions(min_answer_words=6, max_answer_words=10)
    answers = asked(settings=limits)
    assert answers["purpose"][1] == "Apply a linear map to the incoming data."
    assert "parameters" not in answers


def test_conversations_are_written_with_a_manifest(tmp_path: Path) -> None:
    whole = corpus(tmp_path / "corpus", [(TEXT, ABOUT), ("Plain text.", None)])
    manifest = write_questions(whole, str(tmp_path / "instructions"), SETTINGS)
    written = lines(tmp_path / "instructions")
    assert manifest["conversations"] == len(written) == 6
    assert manifest["by_kind"]["purpose"] == 1
    assert [message["role"] for message in written[0]["messages"]] == ["user", "assistant"]
    assert len({line["id"] for line in written}) == 6


def test_a_question_is_asked_once(tmp_path: Path) -> None:
    again = {**ABOUT, "qualified_name": "torch.other.linear", "module": "torch.other"}
    both = corpus(tmp_path / "corpus", [(TEXT, ABOUT), (TEXT, ABOUT), (TEXT, again)])
    write_questions(both, str(tmp_path / "instructions"), SETTINGS)
    asked_for = [line["messages"][0]["content"] for line in lines(tmp_path / "instructions")]
    assert len(asked_for) == len(set(asked_for))


def test_a_cap_keeps_a_part_that_does_not_depend_on_the_order_of_documents(tmp_path: Path) -> None:
    documents: list[tuple[str, dict[str, Any] | None]]
    documents = [(TEXT, {**ABOUT, "qualified_name": f"a.f{number}", "module": "a"}) for number in range(30)]
    settings = PythonDocsQuestions(max_pairs=20)
    write_questions(corpus(tmp_path / "one", documents), str(tmp_path / "a"), settings)
    write_questions(corpus(tmp_path / "two", documents[::-1]), str(tmp_path / "b"), settings)
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
    assert len(lines(tmp_path / "a")) == 20


def test_a_finished_file_is_not_made_again_and_a_damaged_one_is(tmp_path: Path) -> None:
    whole = corpus(tmp_path / "corpus", [(TEXT, ABOUT)])
    write_questions(whole, str(tmp_path / "instructions"), SETTINGS)
    target = tmp_path / "instructions" / "conversations.jsonl"
    content, written = target.read_bytes(), target.stat().st_mtime_ns
    write_questions(whole, str(tmp_path / "instructions"), SETTINGS)
    assert target.stat().st_mtime_ns == written
    target.write_bytes(content[:10])
    write_questions(whole, str(tmp_path / "instructions"), SETTINGS)
    assert target.read_bytes() == content


def test_a_corpus_without_documentation_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"finetune\.data"):
        write_questions(corpus(tmp_path / "corpus", [("Web.", None)]), str(tmp_path / "out"), SETTINGS)
