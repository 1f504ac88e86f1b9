"""Exact substring deduplication: spans equal those of brute force, the first stays, and the rest can be read."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup import substring_search
from pipeline.dedup.substring import SubstringDedup
from pipeline.errors import ShardsFailed, UserError
from pipeline.kernels.words import split_text
from pipeline.shard import DOCUMENT_SCHEMA, open_table, read_batches
from pipeline.stage import Position
from tests.pipeline.dedup.corpora import (
    DAMAGES,
    Careless,
    Damage,
    applied,
    damage_removals,
    left,
    output_of,
    survey,
)
from tests.pipeline.runner import SerialRunner

WORDS: dict[str, Any] = {"cut": "word", "left_characters_min": 1}


def spread(texts: list[str]) -> list[list[str]]:
    """Over shards of unequal size, one of them empty."""
    third = len(texts) // 3
    return [texts[:third], [], texts[third : third + 1], texts[third + 1 :]]


def brute_force(texts: list[str], size: int, within_documents: bool = True) -> list[list[str]]:
    """The tokens that stay: compares each window with all windows before it that it does not overlap."""
    documents = [split_text(text, "unicode") for text in texts]
    windows = [
        (document, place, tokens[place : place + size])
        for document, tokens in enumerate(documents)
        for place in range(len(tokens) - size + 1)
    ]
    gone = set()
    for index, (document, place, window) in enumerate(windows):
        for earlier, earlier_place, other in windows[:index]:
            apart = earlier != document or (within_documents and earlier_place + size <= place)
            if window == other and apart:
                gone |= {(document, place + offset) for offset in range(size)}
                break
    return [
        [token for place, token in enumerate(tokens) if (document, place) not in gone]
        for document, tokens in enumerate(documents)
    ]


def random_texts(seed: int, different: int = 5, count: int = 30) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(f"w{chance.randrange(different)}" for _ in range(chance.randrange(16))) for _ in range(count)]


@settings(max_examples=25)
@given(
    texts=st.lists(
        st.lists(st.sampled_from(["a ", "b ", " c", "中", "!", "b", ", "]), max_size=14).map("".join), max_size=12
    ),
    size=st.integers(2, 5),
    within_documents=st.booleans(),
    partition_bytes=st.sampled_from([20, 1 << 20]),
)
def test_what_is_left_equals_brute_force(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], size: int, within_documents: bool, partition_bytes: int
) -> None:
    stage = SubstringDedup(tokens=size, within_documents=within_documents, partition_bytes=partition_bytes, **WORDS)
    found = left(tmp_path_factory.mktemp("run"), spread(texts), stage)
    assert [split_text(text, "unicode") for text in found] == brute_force(texts, size, within_documents)


def test_what_is_left_of_longer_texts_equals_brute_force_in_parts_of_one_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substring_search, "PART_BYTES", 50)
    texts = random_texts(1)
    found = left(tmp_path, spread(texts), SubstringDedup(tokens=3, partition_bytes=100, **WORDS))
    assert [split_text(text, "unicode") for text in found] == brute_force(texts, 3)
    assert found != texts


def test_equal_hashes_of_other_words_are_never_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_alike(*arguments: Any) -> tuple[np.ndarray, np.ndarray]:
        hashes, firsts = window_hashes(*arguments)
        return np.zeros_like(hashes), firsts

    from pipeline.kernels import substrings

    window_hashes: Any = substrings.window_hashes
    monkeypatch.setattr(substrings, "window_hashes", all_alike)
    texts = ["one two three", "four five six", "one two three"]
    assert left(tmp_path, [texts], SubstringDedup(tokens=3, **WORDS)) == ["one two three", "four five six", ""]


def test_only_whole_sentences_inside_of_what_stood_before_go(tmp_path: Path) -> None:
    shared = "it rained. The river rose over its banks. All of us"
    texts = [f"Then {shared} ran.", f"We know {shared} stayed."]
    assert left(tmp_path, [texts], SubstringDedup(tokens=8, left_characters_min=1)) == [
        texts[0],
        "We know it rained. All of us stayed.",
    ]


def test_lines_without_an_end_mark_are_units_too(tmp_path: Path) -> None:
    menu = "Home and garden\nBooks and more\nAbout all of us"
    texts = [f"{menu}\nA first article", f"{menu}\nAnother article"]
    for cut in ("sentence", "line"):
        stage = SubstringDedup(tokens=8, cut=cut, left_characters_min=1)
        assert left(tmp_path / cut, [texts], stage) == [texts[0], "Another article"]


def test_words_do_not_grow_together(tmp_path: Path) -> None:
    texts = [
        "one, two three (four",
        "six seven, two three (",
        "zero, two three (five",
        "今天很好我们去",
        "不天很好我们不",
    ]
    found = left(tmp_path, [texts], SubstringDedup(tokens=4, **WORDS))
    assert found == [texts[0], "six seven", "zero five", texts[3], "不不"]
    follows = ["a b, c d", "x, c d", ", c d! e"]
    assert left(tmp_path / "next", [follows], SubstringDedup(tokens=3, **WORDS)) == [follows[0], "x", "! e"]


def test_white_space_makes_no_difference_and_case_does(tmp_path: Path) -> None:
    texts = ["one two three four", "one  two\nthree\tfour", "One two three four"]
    assert left(tmp_path, [texts], SubstringDedup(tokens=4, **WORDS)) == [texts[0], "", texts[2]]


def test_what_a_document_repeats_goes_but_its_first_part_stays_whole(tmp_path: Path) -> None:
    assert left(tmp_path, [["a " * 10]], SubstringDedup(tokens=3, **WORDS)) == ["a a a"]


def test_chinese_is_cut_between_characters(tmp_path: Path) -> None:
    texts = ["今天天气很好我们去公园", "昨天下雨今天天气很好我们在家"]
    assert left(tmp_path, [texts], SubstringDedup(tokens=8, **WORDS)) == [texts[0], "昨天下雨在家"]


def test_a_document_of_which_too_little_is_left_is_dropped_with_the_figure(tmp_path: Path) -> None:
    shards = [["a b c d e f", "a b c d e f rest", "tiny"]]
    corpus, stage = survey(tmp_path, shards, SubstringDedup(tokens=6, cut="word", left_characters_min=5))
    texts, dropped, counts = applied(corpus, stage)
    assert texts == ["a b c d e f", "rest", "tiny"]
    assert dropped == {"0-1": ("left_characters_min", "4", "5", "0-0", None)}
    assert counts == {"spans_found": 1, "documents_shortened": 1, "characters_removed": 12}


def test_the_document_where_the_longest_span_stood_first_is_named(tmp_path: Path) -> None:
    shards = [["a b c", "d e f g"], ["a b c and d e f g", "d e f g more words", "d e f g"]]
    corpus, stage = survey(tmp_path, shards, SubstringDedup(tokens=3, cut="word", left_characters_min=4))
    _, dropped, _ = applied(corpus, stage)
    assert dropped == {
        "1-0": ("left_characters_min", "3", "4", "0-1", None),
        "1-2": ("left_characters_min", "0", "4", "0-1", None),
    }
    examples = stage.apply(open_table(corpus.path(corpus.shards[1])), Position(1, 0)).examples
    assert examples["documents_shortened"] == [
        "1-0: 14 characters, which stay in 0-1",
        "1-1: 8 characters, which stay in 0-1",
        "1-2: 7 characters, which stay in 0-1",
    ]


def test_a_refrain_stays_where_only_other_documents_count(tmp_path: Path) -> None:
    refrain = "sing with us now"
    shards = [[f"{refrain} one {refrain}"], [f"two {refrain} three {refrain}"]]
    stage = SubstringDedup(tokens=4, within_documents=False, **WORDS)
    assert left(tmp_path, shards, stage) == [shards[0][0], "two three"]


def test_ids_that_repeat_are_no_copies_of_each_other(tmp_path: Path) -> None:
    texts = ["one two three four", "five six seven", "end one two three four"]
    documents = [{"id": "same", "text": text, "source": "test"} for text in texts]
    assert left(tmp_path, [documents[:1], documents[1:]], SubstringDedup(tokens=4, **WORDS)) == [*texts[:2], "end"]


def test_documents_that_lose_nothing_stay_to_the_byte(tmp_path: Path) -> None:
    texts = [" \n\n odd \r\n spacing here \u2028\n", "all of this\nb", "all of this\nc"]
    assert left(tmp_path, [texts], SubstringDedup(tokens=3, **WORDS)) == [texts[0], texts[1], "c"]


def test_one_document_many_times_and_a_corpus_of_one(tmp_path: Path) -> None:
    text = "one line here and another line there"
    corpus, stage = survey(tmp_path / "many", [[text] * 1500, [text] * 20], SubstringDedup(tokens=5))
    texts, dropped, _ = applied(corpus, stage)
    assert texts == [text] + [""] * 1519
    assert len(dropped) == 1519
    assert left(tmp_path / "one", [[text]], SubstringDedup(tokens=5)) == [text]
    assert left(tmp_path / "none", [[]], SubstringDedup()) == []


def test_batches_and_single_documents_are_judged_alike(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, spread(random_texts(6)), SubstringDedup(tokens=3, **WORDS))
    single = []
    for index, shard in enumerate(corpus.shards):
        row = 0
        for batch in read_batches(corpus.path(shard)):
            for place in range(batch.num_rows):
                outcome = stage.apply(batch.slice(place, 1), Position(index, row))
                single.append(outcome.documents["text"][0].as_py())
                row += 1
    assert single == applied(corpus, stage)[0]


def test_the_order_of_tasks_changes_no_byte_and_partitions_change_no_result(tmp_path: Path) -> None:
    def shuffled(tasks: list) -> list:  # type: ignore[type-arg]
        return random.Random(3).sample(tasks, len(tasks))

    shards, tiny = spread(random_texts(7)), SubstringDedup(tokens=3, partition_bytes=100, **WORDS)
    _, first = survey(tmp_path / "a", shards, tiny)
    _, second = survey(tmp_path / "b", shards, tiny, SerialRunner(shuffled))
    assert output_of(tmp_path / "a" / "survey") == output_of(tmp_path / "b" / "survey")
    _, third = survey(tmp_path / "c", shards, SubstringDedup(tokens=3, **WORDS))
    assert first.fingerprint() == second.fingerprint() == third.fingerprint()


def test_a_second_survey_does_nothing_another_length_all_and_another_border_nothing(tmp_path: Path) -> None:
    shards = spread(random_texts(8))
    survey(tmp_path, shards, SubstringDedup(tokens=3))
    again, other = SerialRunner(), SerialRunner()
    survey(tmp_path, shards, SubstringDedup(tokens=3, cut="line", left_characters_min=9), again)
    survey(tmp_path, shards, SubstringDedup(tokens=4), other)
    assert again.executed == []
    assert len(other.executed) == 9


def test_another_choice_within_documents_does_the_last_step_alone(tmp_path: Path) -> None:
    shards, other = spread(random_texts(9)), SerialRunner()
    survey(tmp_path, shards, SubstringDedup(tokens=3))
    survey(tmp_path, shards, SubstringDedup(tokens=3, within_documents=False), other)
    assert other.executed == [f"shard-0000{shard}" for shard in range(4)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_removals_file_that_is_gone_or_damaged_stops_the_applying_stage(tmp_path: Path, damage: Damage) -> None:
    corpus, stage = survey(tmp_path, [["same text", "same text"], ["same text"]], SubstringDedup(tokens=2))
    damage_removals(tmp_path, damage)
    with pytest.raises(UserError, match=r"removals/shard-00000\.arrow"):
        applied(corpus, stage)


@pytest.mark.parametrize("file", ["shard-00001.arrow", "shard-00001.tokens.arrow"])
def test_a_file_that_vanishes_between_two_steps_is_an_error_that_names_it(tmp_path: Path, file: str) -> None:
    with pytest.raises(ShardsFailed, match=f"windows/{file} is missing"):
        survey(tmp_path, [["same text"], ["same text"]], SubstringDedup(tokens=2), Careless("windows", file))


def test_an_empty_batch_passes_without_reading_anything(tmp_path: Path) -> None:
    _, stage = survey(tmp_path, [["a"]], SubstringDedup())
    assert stage.apply(DOCUMENT_SCHEMA.empty_table(), Position(99, 0)).documents.num_rows == 0


def test_hostile_documents(tmp_path: Path) -> None:
    texts = ["", " ", "\n" * 1_000_000, "x" * 5_000_000, "a. " * 300_000, "\x00\u200b\ufeff\n" * 10, "\U0010ffff"]
    found = left(tmp_path, [[*texts, texts[4]]], SubstringDedup(left_characters_min=1))
    assert found[:4] == texts[:4]
    assert len(found[4]) < 200
    assert found[7] == ""
