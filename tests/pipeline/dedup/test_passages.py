"""Deduplication of lines, paragraphs and spans: what stood before goes, all is said once, the rest is readable."""

import hashlib
import random
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.dedup.lines import LineDedup
from pipeline.dedup.passage_removal import PassageDedup
from pipeline.dedup.spans import SpanDedup
from pipeline.errors import ShardsFailed, UserError
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

SHORT: dict[str, Any] = {"characters_min": 1, "left_characters_min": 1}


def random_shards(seed: int, different: int = 40) -> list[list[str]]:
    """Documents of lines that are one word and a full stop, so that lines and sentences are the same."""
    chance = random.Random(seed)
    texts = ["\n".join(f"w{chance.randrange(different)}." for _ in range(chance.randrange(9))) for _ in range(60)]
    return [texts[:20], [], texts[20:21], texts[21:]]


def reference(texts: list[str], run: int, min_copies: int, keep: str, within_documents: bool) -> list[list[str]]:
    """What stays of each document, by a dictionary of all runs of lines."""
    documents = [text.split("\n") if text else [] for text in texts]
    spans = [
        (document, place, tuple(lines[place : place + run]))
        for document, lines in enumerate(documents)
        for place in range(len(lines) - run + 1)
    ]
    first: dict[tuple[str, ...], tuple[int, int]] = {}
    copies: dict[tuple[str, ...], set[tuple[int, int]]] = {}
    for document, place, span in spans:
        first.setdefault(span, (document, place))
        copies.setdefault(span, set()).add((document, place if within_documents else 0))
    gone: set[tuple[int, int]] = set()
    for document, place, span in spans:
        kept = first[span] == (document, place) or (not within_documents and first[span][0] == document)
        if len(copies[span]) >= min_copies and not (keep == "first" and kept):
            gone |= {(document, place + offset) for offset in range(run)}
    return [
        [line for place, line in enumerate(lines) if (document, place) not in gone]
        for document, lines in enumerate(documents)
    ]


def test_a_line_stays_where_it_stood_first(tmp_path: Path) -> None:
    shards = [["Menu\nfirst", "second\nMENU!"], ["menu\n\nthird\nfirst"]]
    assert left(tmp_path, shards, LineDedup(**SHORT)) == ["Menu\nfirst", "second", "third"]


def test_paragraphs_are_compared_whole(tmp_path: Path) -> None:
    shards = [["a\nb\n\nc"], ["a\nb\n\nd", "a\n\nb"]]
    assert left(tmp_path, shards, LineDedup(unit="paragraph", **SHORT)) == ["a\nb\n\nc", "d", "a\n\nb"]


def test_spans_of_three_sentences_go_and_shorter_ones_stay(tmp_path: Path) -> None:
    shards = [["One is. Two is. Three is. Four is."], ["So. One is.\n\nTwo is. Three is. End.", "One is. Two is. No."]]
    assert left(tmp_path, shards, SpanDedup(left_characters_min=1)) == [
        "One is. Two is. Three is. Four is.",
        "So.\n\nEnd.",
        "One is. Two is. No.",
    ]


@pytest.mark.parametrize("run", [1, 3])
@pytest.mark.parametrize(
    ("min_copies", "keep", "within_documents"),
    [(2, "first", True), (2, "first", False), (3, "first", True), (3, "none", True), (4, "none", False)],
)
@pytest.mark.parametrize("partition_bytes", [50, 1 << 30])
def test_what_is_left_equals_a_dictionary_of_all_lines(
    tmp_path: Path, run: int, min_copies: int, keep: Any, within_documents: bool, partition_bytes: int
) -> None:
    shards = random_shards(1, different=40 if run == 1 else 3)
    texts = [text for shard in shards for text in shard]
    expected = reference(texts, run, min_copies, keep, within_documents)
    rule: dict[str, Any] = {"min_copies": min_copies, "keep": keep, "within_documents": within_documents}
    for unit in ("line", "sentence"):
        stage = SpanDedup(unit=unit, units=run, partition_bytes=partition_bytes, **rule, **SHORT)
        found = left(tmp_path / unit, shards, stage)
        assert [text.split("\n") if text else [] for text in found] == expected
    assert expected != [text.split("\n") if text else [] for text in texts]


def test_every_line_of_the_corpus_is_still_there_once(tmp_path: Path) -> None:
    shards = random_shards(5)
    said = [line for shard in shards for text in shard for line in text.split("\n") if text]
    found = left(tmp_path / "lines", shards, LineDedup(**SHORT))
    assert [line for text in found for line in text.split("\n") if text] == list(dict.fromkeys(said))
    found = left(tmp_path / "spans", shards, SpanDedup(**SHORT))
    assert {line for text in found for line in text.split("\n")} >= set(said)


def test_short_lines_are_left_alone(tmp_path: Path) -> None:
    texts = ["}\nlong enough line\n}", "}\nlong enough line\nthe end"]
    assert left(tmp_path, [texts], LineDedup(characters_min=8, left_characters_min=1))[1] == "}\nthe end"


def test_figures_are_content_unless_told_otherwise(tmp_path: Path) -> None:
    texts = ["born 1970\nx", "born 1980\ny"]
    assert left(tmp_path / "a", [texts], LineDedup(**SHORT)) == texts
    assert left(tmp_path / "b", [texts], LineDedup(ignore=("digits",), **SHORT)) == ["born 1970\nx", "y"]


def lines_by_ccnet(texts: list[str]) -> list[list[str]]:
    """What CCNet leaves: no line whose hash stands in two documents, by the first 64 bits of SHA-1."""

    def hashed(line: str) -> bytes:
        letters = unicodedata.normalize("NFD", re.sub(r"\d", "0", line.strip().lower()))
        kept = [letter for letter in letters if unicodedata.category(letter) != "Mn"]
        return hashlib.sha1("".join(c for c in kept if unicodedata.category(c)[0] != "P").encode()).digest()[:8]

    documents = Counter(digest for text in texts for digest in {hashed(line) for line in text.split("\n")})
    return [[line for line in text.split("\n") if documents[hashed(line)] == 1] for text in texts]


def test_lines_are_those_that_ccnet_takes_for_equal(tmp_path: Path) -> None:
    chance = random.Random(11)
    starts, middles = ["Born", "born", "B\u00f6rn", "Bor\u0308n", "born,"], [" in ", " in: ", " \u2013in "]
    lines = [
        f"{first}{middle}{year}{end}" for first in starts for middle in middles for year in (1970, 42) for end in ".x"
    ]
    texts = ["\n".join([*chance.sample(lines, 2), f"of document {chr(97 + place)}"]) for place in range(12)]
    rule = LineDedup(ignore=("case", "accents", "punctuation", "digits"), keep="none", within_documents=False, **SHORT)
    found = left(tmp_path, [texts[:5], texts[5:]], rule)
    assert [text.split("\n") for text in found] == lines_by_ccnet(texts)
    assert found != texts


def test_a_document_of_which_too_little_is_left_is_dropped_with_the_figure(tmp_path: Path) -> None:
    shards = [["a notice\nand a text", "a notice\nrest", "tiny"]]
    corpus, stage = survey(tmp_path, shards, LineDedup(characters_min=1, left_characters_min=5))
    texts, dropped, counts = applied(corpus, stage)
    assert texts == ["a notice\nand a text", "rest", "tiny"]
    assert dropped == {"0-1": ("left_characters_min", "4", "5", "0-0", None)}
    assert counts == {"lines_removed": 1, "documents_shortened": 1, "characters_removed": 9}


def test_the_document_where_most_of_it_stays_is_named(tmp_path: Path) -> None:
    shards = [["one\ntwo", "three", "two\nthree\none"], ["four\none", "rest\nthree"]]
    corpus, stage = survey(tmp_path / "first", shards, LineDedup(**SHORT))
    assert applied(corpus, stage)[1]["0-2"] == ("left_characters_min", "0", "1", "0-0", None)
    examples = [
        stage.apply(open_table(corpus.path(shard)), Position(place, 0)).examples
        for place, shard in enumerate(corpus.shards)
    ]
    assert [found["documents_shortened"] for found in examples] == [
        ["0-2: 13 characters, which stay in 0-0"],
        ["1-0: 4 characters, which stay in 0-0", "1-1: 6 characters, which stay in 0-1"],
    ]
    corpus, stage = survey(tmp_path / "none", shards, LineDedup(keep="none", **SHORT))
    assert applied(corpus, stage)[1]["0-2"] == ("left_characters_min", "0", "1", None, None)


def test_documents_that_lose_nothing_stay_to_the_byte(tmp_path: Path) -> None:
    texts = [" \n\n odd \r\n spacing \u2028\n", "common line\nb", "common line\nc"]
    assert left(tmp_path, [texts], LineDedup(**SHORT))[0] == texts[0]


def test_one_document_many_times_and_a_corpus_of_one(tmp_path: Path) -> None:
    text = "one line here\nanother line there"
    corpus, stage = survey(tmp_path / "many", [[text] * 1500, [text] * 20], LineDedup(**SHORT))
    texts, dropped, _ = applied(corpus, stage)
    assert texts == [text] + [""] * 1519
    assert len(dropped) == 1519
    assert left(tmp_path / "one", [[text]], LineDedup(**SHORT)) == [text]
    assert left(tmp_path / "none", [[]], LineDedup(**SHORT)) == []


@pytest.mark.parametrize("stage", [LineDedup(**SHORT), SpanDedup(unit="line", units=2, **SHORT)])
def test_ids_that_repeat_are_no_copies_of_each_other(tmp_path: Path, stage: PassageDedup) -> None:
    texts = ["one line\nand another", "a third line\nand a fourth", "one line\nand another\nend"]
    documents = [{"id": "same", "text": text, "source": "test"} for text in texts]
    assert left(tmp_path, [documents[:1], documents[1:]], stage) == [*texts[:2], "end"]


def test_a_shard_hands_on_each_line_once(tmp_path: Path) -> None:
    from pipeline.dedup.partitions import read_partition
    from pipeline.storage import read_json

    survey(tmp_path, [["a line\nb line"] * 1000], LineDedup(**SHORT))
    record = read_json(str(tmp_path / "survey/hashes/shard-00000.json"))
    assert (record["passages"], record["different"]) == (2000, 2)
    rows = read_partition(
        str(tmp_path / "survey/removals/shard-00000.arrow"), 0, 1, "passages removed from shard-00000"
    )
    assert rows.num_rows == 2


def test_batches_and_single_documents_are_judged_alike(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, random_shards(6), SpanDedup(**SHORT))
    whole = applied(corpus, stage)[0]
    single = []
    for index, shard in enumerate(corpus.shards):
        row = 0
        for batch in read_batches(corpus.path(shard)):
            for place in range(batch.num_rows):
                outcome = stage.apply(batch.slice(place, 1), Position(index, row))
                single.append(outcome.documents["text"][0].as_py())
                row += 1
    assert single == whole


def test_the_order_of_tasks_changes_no_byte_and_partitions_change_no_result(tmp_path: Path) -> None:
    def shuffled(tasks: list) -> list:  # type: ignore[type-arg]
        return random.Random(3).sample(tasks, len(tasks))

    shards = random_shards(7)
    _, first = survey(tmp_path / "a", shards, LineDedup(partition_bytes=100, **SHORT))
    _, second = survey(tmp_path / "b", shards, LineDedup(partition_bytes=100, **SHORT), SerialRunner(shuffled))
    assert output_of(tmp_path / "a" / "survey") == output_of(tmp_path / "b" / "survey")
    _, third = survey(tmp_path / "c", shards, LineDedup(**SHORT))
    assert first.fingerprint() == second.fingerprint() == third.fingerprint()


def test_a_second_survey_does_what_a_changed_field_decides_and_no_more(tmp_path: Path) -> None:
    survey(tmp_path, random_shards(8), LineDedup(**SHORT))
    again, copies, other = SerialRunner(), SerialRunner(), SerialRunner()
    survey(tmp_path, random_shards(8), LineDedup(characters_min=1, left_characters_min=9), again)
    survey(tmp_path, random_shards(8), LineDedup(**SHORT, min_copies=3), copies)
    survey(tmp_path, random_shards(8), LineDedup(characters_min=2, left_characters_min=1), other)
    assert again.executed == []
    assert copies.executed[0] == "partition-00000", "no text is hashed again"
    assert len(other.executed) == 9


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_removals_file_that_is_gone_or_damaged_stops_the_applying_stage(tmp_path: Path, damage: Damage) -> None:
    corpus, stage = survey(tmp_path, [["same\na", "same\nb"], ["same\nc"]], LineDedup(**SHORT))
    damage_removals(tmp_path, damage)
    with pytest.raises(UserError, match=r"removals/shard-00000\.arrow"):
        applied(corpus, stage)


def test_a_file_that_vanishes_between_two_steps_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ShardsFailed, match=r"hashes/shard-00001\.arrow is missing"):
        survey(tmp_path, [["same"], ["same"]], LineDedup(**SHORT), Careless("hashes", "shard-00001.arrow"))


def test_an_empty_batch_passes_without_reading_anything(tmp_path: Path) -> None:
    _, stage = survey(tmp_path, [["a"]], LineDedup(**SHORT))
    assert stage.apply(DOCUMENT_SCHEMA.empty_table(), Position(99, 0)).documents.num_rows == 0


@pytest.mark.parametrize("stage", [LineDedup(**SHORT), LineDedup(unit="paragraph", **SHORT), SpanDedup(**SHORT)])
def test_hostile_documents(tmp_path: Path, stage: PassageDedup) -> None:
    texts = ["", " ", "\n" * 1_000_000, "x" * 5_000_000, "a. " * 300_000, "\x00\u200b\ufeff\n" * 10, "\U0010ffff"]
    found = left(tmp_path, [texts], stage)
    assert found[:4] == texts[:4]
    assert len(found[4]) < len(texts[4]) or stage.name == "line_dedup"
