from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.errors import UserError
from pipeline.explain import explain
from tests.pipeline.corpora import write_corpus

KEPT = [{"id": f"kept/{number}", "text": f"mail me at {number}@example.org"} for number in range(20)]
CLEANED = [{**document, "text": "mail me at <EMAIL>"} for document in KEPT]


def _drop(document_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": document_id, "source": "test", "text_bytes": 12, "excerpt": "what it was", **fields}


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    late = {"id": "late", "text": "a copy of another"}
    short = _drop("short", stage="gopher_quality", rule="too_few_words", value="3", threshold="50")
    copy = _drop("late", stage="minhash_dedup", rule="near_duplicate", kept_id="kept/3", similarity=0.9)
    write_corpus(tmp_path / "00-read", [KEPT[:10], [*KEPT[10:], late]], dropped=[[short], []])
    write_corpus(tmp_path / "01-minhash", [CLEANED[:10], CLEANED[10:]], dropped=[[], [copy]])
    return str(tmp_path)


def test_a_kept_document_is_seen_in_each_pass_and_changes_are_told(corpus: str) -> None:
    first, second = explain(corpus, "kept/13")
    assert (first.directory, first.shard, first.outcome, first.changed) == ("00-read", "shard-00001", "kept", False)
    assert (second.directory, second.shard, second.outcome, second.changed) == (
        "01-minhash",
        "shard-00001",
        "kept",
        True,
    )
    assert first.excerpt == "mail me at 13@example.org"
    assert second.excerpt == "mail me at <EMAIL>"
    assert second.text_bytes == 18


def test_a_document_dropped_at_once_has_one_sighting_with_the_reason(corpus: str) -> None:
    (only,) = explain(corpus, "short")
    assert (only.outcome, only.stage, only.rule, only.value, only.threshold) == (
        "dropped",
        "gopher_quality",
        "too_few_words",
        "3",
        "50",
    )
    assert only.text_bytes == 12


def test_a_duplicate_names_the_document_that_was_kept(corpus: str) -> None:
    first, last = explain(corpus, "late")
    assert first.outcome == "kept"
    assert (last.outcome, last.rule, last.kept_id, last.similarity) == ("dropped", "near_duplicate", "kept/3", 0.9)


def test_passes_of_another_recipe_are_left_out_when_the_corpus_lists_its_own(corpus: str, tmp_path: Path) -> None:
    write_corpus(tmp_path / "02-old", [KEPT])
    assert len(explain(corpus, "kept/1")) == 3
    storage.write_json(str(tmp_path / "manifest.json"), {"directories": ["00-read", "01-minhash"]})
    assert len(explain(corpus, "kept/1")) == 2


def test_an_unknown_document_is_an_error(corpus: str) -> None:
    with pytest.raises(UserError, match="knows no document with the id 'nobody'"):
        explain(corpus, "nobody")


def test_a_corpus_without_finished_pass_is_an_error(corpus: str, tmp_path: Path) -> None:
    for name in ("00-read", "01-minhash"):
        shutil.rmtree(tmp_path / name)
    with pytest.raises(UserError, match="holds no finished pass"):
        explain(corpus, "kept/1")
