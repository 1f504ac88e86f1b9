"""Decontamination: what counts as an n-gram of an evaluation set, and what happens to documents that hold one."""

from __future__ import annotations

import gzip
import json
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.decontamination.removal import pieces_without
from pipeline.decontamination.stage import Decontaminate
from pipeline.errors import SettingError, UserError
from tests.pipeline.filters.judging import judged, real_texts, verdict

QUESTION = "Janet's ducks lay 16 eggs per day; she eats three for breakfast every morning, and bakes muffins."
FILLER = "nothing of the sort stands in these words at all "


def eval_set(folder: Path, *items: Any, name: str = "set.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
    return str(path)


def stage(folder: Path, *items: Any, **fields: Any) -> Decontaminate:
    return Decontaminate(sets={"ducks": eval_set(folder, *items)}, **fields)  # type: ignore[dict-item]


def test_a_document_with_13_words_of_an_item_is_dropped_and_the_item_named(tmp_path: Path) -> None:
    found = stage(tmp_path, {"question": "What?"}, {"question": QUESTION})
    words = "JANETS ducks -- lay 16 eggs, per day: she eats “three” for breakfast every"
    outcome = judged(found, FILLER + words + " " + FILLER, FILLER)
    assert [row for row, _ in outcome.drops.items()] == [0]
    assert outcome.drops.excerpt(0) == words
    assert verdict(found, words) == ("min_hits", "1: ducks:2", "1")
    assert outcome.counts == {"documents_with_ducks": 1, "items_found_of_ducks": 1}
    assert outcome.examples["documents_with_ducks"] == [f"ducks:2: {words}"]


def test_12_words_of_a_longer_passage_are_no_hit(tmp_path: Path) -> None:
    assert (
        verdict(stage(tmp_path, {"q": QUESTION}), "Janets ducks lay 16 eggs per day she eats three for breakfast")
        is None
    )


def test_a_short_passage_is_found_as_a_whole_and_a_shorter_one_not_at_all(tmp_path: Path) -> None:
    short, shorter = "one two three four five six seven eight", "red green blue black white"
    found = stage(tmp_path, {"q": short, "a": shorter})
    assert verdict(found, f"{FILLER} {short} {FILLER}") is not None
    assert verdict(found, "one two three four five six seven") is None
    assert verdict(found, f"{FILLER} {shorter} {FILLER}") is None


def test_what_many_items_share_is_not_looked_for_and_what_is_their_own_is(tmp_path: Path) -> None:
    form = "Choose the best of the following four answers to this question about farming"
    items = [{"q": f"{form} number{number} w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12"} for number in range(4)]
    found = stage(tmp_path, *items, max_items=3)
    assert verdict(found, f"{form} {FILLER}") is None
    assert verdict(found, f"{FILLER} number2 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12") is not None
    assert verdict(stage(tmp_path, *items, max_items=4), f"{form} {FILLER}") is not None


def test_a_set_of_which_nothing_would_be_looked_for_is_refused_and_named(tmp_path: Path) -> None:
    sets = {
        "ducks": eval_set(tmp_path, {"q": QUESTION}, name="ducks.jsonl"),
        "passages": eval_set(tmp_path, *[{"passage": FILLER}] * 4, name="passages.jsonl"),
    }
    with pytest.raises(SettingError, match="evaluation set passages: all its n-grams are in more than max_items=3"):
        judged(Decontaminate(sets=sets, max_items=3), QUESTION)  # type: ignore[arg-type]


def test_no_ngram_reaches_over_the_end_of_a_passage(tmp_path: Path) -> None:
    found = stage(tmp_path, {"q": "a b c d e f g h", "a": "i j k l m n o p"})
    assert verdict(found, "d e f g h i j k l m n") is None


def test_only_the_fields_named_are_looked_for(tmp_path: Path) -> None:
    path = eval_set(tmp_path, {"question": QUESTION, "choices": [{"text": "x1 x2 x3 x4 x5 x6 x7 x8"}], "note": FILLER})
    found = Decontaminate(sets={"ducks": {"path": path, "fields": ["question", "choices"]}})  # type: ignore[dict-item]
    assert verdict(found, QUESTION) is not None
    assert verdict(found, "x1 x2 x3 x4 x5 x6 x7 x8") is not None
    assert verdict(found, FILLER) is None


def test_the_form_of_a_benchmark_is_no_hit(tmp_path: Path) -> None:
    form = "choose the best answer to the question that is given below by its letter"
    items = [{"q": f"{form} item{number}"} for number in range(11)]
    assert verdict(stage(tmp_path, *items, {"q": QUESTION}), form) is None
    (tmp_path / "fewer").mkdir()
    assert verdict(stage(tmp_path / "fewer", *items[:10]), form) is not None


def test_judging_without_the_survey_that_max_documents_needs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs the survey"):
        judged(stage(tmp_path, {"q": QUESTION}, max_documents=10), QUESTION)


def test_the_plan_tells_memory_time_and_the_files_of_the_survey(tmp_path: Path) -> None:
    (line,) = stage(tmp_path, {"q": QUESTION}).plan_lines(35 * 3600 * 10**6)
    assert line == "at most 17 n-grams of the sets: 0.00153 MB of memory a worker; 1 CPU-hours"
    (line,) = stage(tmp_path, {"q": QUESTION}, max_documents=10).plan_lines(10**9, 7)
    (han,) = stage(tmp_path, {"q": "肉牛屠宰后，胴体的哪个部位肉质较好呢"}, n=2, min_words=1).plan_lines(1)
    assert han.startswith("at most 19 n-grams")
    assert line.endswith("CPU-hours, and as many for counting their documents, in 8 files of at most 0.00153 MB")


def test_scripts_without_spaces_go_by_characters(tmp_path: Path) -> None:
    assert (
        verdict(
            stage(tmp_path, {"q": "肉牛屠宰后，胴体的哪个部位肉质较好呢"}), "请问:肉牛屠宰后胴体的哪个部位肉质较好？"
        )
        is not None
    )


def test_share_and_hits_are_thresholds(tmp_path: Path) -> None:
    text = QUESTION + " " + FILLER * 20
    assert verdict(stage(tmp_path, {"q": QUESTION}, min_hits=6), text) is None
    assert verdict(stage(tmp_path, {"q": QUESTION}, min_share=0.5), text) is None
    rule = verdict(stage(tmp_path, {"q": QUESTION}, min_share=0.5), QUESTION)
    assert rule is not None
    assert rule[0] == "min_share"


def test_remove_takes_the_window_and_keeps_the_rest(tmp_path: Path) -> None:
    before, after = "before " * 100, "after " * 100
    outcome = judged(stage(tmp_path, {"q": QUESTION}, action="remove"), before + QUESTION + " " + after, FILLER)
    text, other = outcome.documents["text"].to_pylist()
    assert other == FILLER
    assert "ducks" not in text
    first, second = text.split("\n\n")
    assert set(first.split()) == {"before"}
    assert set(second.split()) == {"after"}
    assert 700 - 250 < len(first) <= 500
    assert outcome.counts["documents_cleaned"] == 1
    assert len(outcome.drops) == 0


def test_remove_drops_what_leaves_nothing_and_what_falls_to_pieces(tmp_path: Path) -> None:
    found = stage(tmp_path, {"q": QUESTION}, action="remove")
    assert verdict(found, QUESTION) == ("min_piece_characters", "no piece left: ducks:1", "200")
    dropped = verdict(found, (FILLER * 20 + QUESTION + " ") * 12)
    assert dropped is not None
    assert dropped[0] == "max_pieces"


def test_label_drops_nothing(tmp_path: Path) -> None:
    outcome = judged(stage(tmp_path, {"q": QUESTION}, action="label"), QUESTION, FILLER)
    assert outcome.documents["contaminated_by"].to_pylist() == ["ducks:1", None]
    assert outcome.documents["contaminated_share"].to_pylist() == [1.0, 0.0]
    empty = stage(tmp_path, {"q": QUESTION}, action="label").apply(outcome.documents.slice(0, 0).select(range(6)), None)  # type: ignore[arg-type]
    assert empty.documents.schema == outcome.documents.schema


def test_pieces_lose_no_character_outside_the_windows() -> None:
    text = "äöü " * 100 + "X Y" + " äöü" * 100
    start = len(("äöü " * 100).encode())
    pieces, count = pieces_without(text, [(start, start + 3)], 0, 0)
    assert pieces == [("äöü " * 100).strip(), ("äöü " * 100).strip()]
    assert count == 2


@pytest.mark.parametrize("name", ["set.json", "set.json.gz", "set.jsonl.zst", "set.txt"])
def test_forms_of_files(tmp_path: Path, name: str) -> None:
    content = {
        "set.json": json.dumps({"version": 1, "data": [{"q": QUESTION}]}).encode(),
        "set.json.gz": gzip.compress(json.dumps([{"q": [QUESTION]}]).encode()),
        "set.jsonl.zst": zstandard.compress(json.dumps({"q": QUESTION}).encode()),
        "set.txt": f"{FILLER}\n\n{QUESTION}\n".encode(),
    }
    (tmp_path / name).write_bytes(content[name])
    assert verdict(Decontaminate(sets={"s": str(tmp_path / name)}), QUESTION) is not None  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("content", "fields", "said"),
    [
        ('{"question": "a"}\n{oops', (), "line 2"),
        ('{"question": "a b"}', (), "longest passage has 2 words"),
        ('{"question": "a b"}', ("qestion",), "did you mean `question`"),
        ("\n\n", (), "holds no item"),
    ],
)
def test_a_bad_set_is_refused_and_named(tmp_path: Path, content: str, fields: tuple[str, ...], said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    found = Decontaminate(sets={"quiz": {"path": str(path), "fields": fields}})  # type: ignore[dict-item]
    with pytest.raises(SettingError, match=said) as caught:
        judged(found, "text")
    assert "quiz" in str(caught.value)


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Decontaminate(sets={})
    with pytest.raises(ValidationError, match="lower it"):
        stage(tmp_path, {"q": QUESTION}, n=5)
    with pytest.raises(SettingError, match="no file"):
        judged(Decontaminate(sets={"s": str(tmp_path / "none.jsonl")}), "text")  # type: ignore[dict-item]


def test_the_content_of_the_sets_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    before = stage(tmp_path, {"q": QUESTION}).fingerprint()
    assert stage(tmp_path, {"q": QUESTION + " more"}).fingerprint() != before


def reference_words(text: str) -> list[str]:
    """Words of the texts below, which have no scripts without spaces."""
    kept = "".join(c for c in text if c.isspace() or c.isalnum() or unicodedata.category(c)[0] == "M")
    return kept.lower().split()


TEXTS = st.lists(st.sampled_from(["a", "B", "c,", "é", "d-e", "...", "D", "\n"]), max_size=30).map(" ".join)


@settings(max_examples=40)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.lists(TEXTS, max_size=4))
def test_hits_are_those_of_the_obvious_search(tmp_path_factory: Any, passages: list[str], texts: list[str]) -> None:
    n, least = 4, 2
    wanted = set()
    for words in map(reference_words, passages):
        length = min(n, len(words))
        if length >= least:
            wanted |= {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}
    if not wanted:
        return
    path = eval_set(tmp_path_factory.mktemp("set"), passages)
    found = Decontaminate(sets={"s": path}, n=n, min_words=least)  # type: ignore[dict-item]
    expected = []
    for row, text in enumerate(texts):
        words = reference_words(text)
        ends = {
            end
            for end in range(len(words) + 1)
            for m in range(least, n + 1)
            if tuple(words[max(0, end - m) : end]) in wanted
        }
        if ends:
            expected.append((row, str(len(ends))))
    assert [(row, (reason[1] or "").split(":")[0]) for row, reason in judged(found, *texts).drops.items()] == expected


def test_no_false_hit_in_real_texts_and_every_planted_passage_found(tmp_path: Path) -> None:
    texts = [text for text in real_texts(60) if len(text.split()) > 100]
    planted = [" ".join(f"w{number}x{word}" for word in range(13)) for number in range(len(texts))]
    found = stage(tmp_path, *({"q": passage} for passage in planted))
    assert len(judged(found, *texts).drops) == 0
    dropped = judged(found, *(text + " " + passage for text, passage in zip(texts, planted, strict=True))).drops
    assert len(dropped) == len(texts)


@pytest.mark.parametrize("text", ["", "a" * 10_000_000, "a b " * 500_000, "\x00\ufffd" * 1_000_000, QUESTION * 5_000])
def test_hostile_documents_take_linear_time(tmp_path: Path, text: str) -> None:
    found = stage(tmp_path, {"q": QUESTION}, {"q": "a b " * 10}, action="remove")
    judged(found, "warm")
    started = time.process_time()
    judged(found, text)
    assert time.process_time() - started < 8
