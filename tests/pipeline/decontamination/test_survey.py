"""N-grams of evaluation sets that are common in the corpus: counted by document, and not looked for."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpus import plan_passes
from pipeline.decontamination.stage import Decontaminate
from pipeline.decontamination.survey import CountNgrams
from pipeline.errors import ShardsFailed, UserError
from pipeline.shard import read_batches
from pipeline.stage import DocumentStage, Position
from tests.pipeline.dedup.corpora import Careless, apply_to, output_of, survey, write_corpus
from tests.pipeline.runner import SerialRunner

COMMON = "to be or not to be that is the question whether it is nobler"
RARE = "Janets ducks lay 16 eggs per day she eats three for breakfast every morning"


def stage(folder: Path, **fields: Any) -> Decontaminate:
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps({"q": passage}) + "\n" for passage in (COMMON, RARE)))
    return Decontaminate(sets={"quiz": {"path": str(path)}}, **{"max_documents": 3, **fields})  # type: ignore[dict-item]


def counted(folder: Path, shards: list[list[str]], runner: SerialRunner | None = None, **fields: Any) -> Any:
    barrier = stage(folder, **fields).barrier()
    assert barrier is not None
    return survey(folder, shards, barrier, runner)


def test_a_passage_of_more_documents_than_that_is_left_alone_and_a_rare_one_found(tmp_path: Path) -> None:
    shards = [[f"{COMMON} {number}" for number in range(3)], [f"x {COMMON}", f"y {RARE}", RARE]]
    assert set(apply_to(*counted(tmp_path, shards))) == {"1-1", "1-2"}


def test_as_many_documents_as_allowed_are_not_too_many_and_repeats_in_one_count_once(tmp_path: Path) -> None:
    shards = [[f"{COMMON} and {COMMON} {number}" for number in range(2)], [COMMON, "nothing"]]
    assert set(apply_to(*counted(tmp_path, shards))) == {"0-0", "0-1", "1-0"}


def test_each_ngram_is_counted_by_itself(tmp_path: Path) -> None:
    """The first n words of a passage are quoted often, all of it once."""
    start = " ".join(COMMON.split()[:13])
    shards = [[start] * 4, [COMMON]]
    corpus, applying = counted(tmp_path, shards)
    assert {name: reason[1] for name, reason in apply_to(corpus, applying).items()} == {"1-0": "1: quiz:1"}


def test_the_report_names_what_was_looked_for_alone(tmp_path: Path) -> None:
    shards = [[f"{COMMON} {RARE} {number}" for number in range(1)] + [COMMON] * 4]
    corpus, applying = counted(tmp_path, shards)
    (batch,) = read_batches(corpus.path(corpus.shards[0]))
    outcome = applying.apply(batch, Position(0, 0))
    assert outcome.counts == {"documents_with_quiz": 1, "items_found_of_quiz": 1}
    assert outcome.examples == {"documents_with_quiz": ["quiz:2: " + RARE.removesuffix(" morning")]}


def test_when_all_are_common_nothing_is_found(tmp_path: Path) -> None:
    assert apply_to(*counted(tmp_path, [[COMMON, RARE, f"{COMMON} {RARE}"]], max_documents=1)) == {}


def test_the_counts_are_those_of_an_obvious_search(tmp_path: Path) -> None:
    chance = random.Random(2)
    words = COMMON.split()[:7]
    texts = [" ".join(chance.choice(words) for _ in range(40)) for _ in range(40)]
    corpus, applying = counted(tmp_path, [texts[:15], [], texts[15:]], n=2, min_words=2, max_documents=25)
    passages = [passage.split() for passage in (COMMON.lower(), RARE.lower())]
    wanted = {tuple(passage[place : place + 2]) for passage in passages for place in range(len(passage) - 1)}
    pairs = [{(first, second) for first, second in zip(text.split(), text.split()[1:], strict=False)} for text in texts]
    rare = {pair for pair in wanted if sum(pair in found for found in pairs) <= 25}
    assert 0 < len(rare) < len(wanted)
    expected = {place for place, found in enumerate(pairs) if found & rare}
    names = [f"0-{row}" for row in range(15)] + [f"2-{row}" for row in range(25)]
    assert set(apply_to(corpus, applying)) == {names[place] for place in expected}


def test_the_survey_is_a_barrier_only_where_the_field_is_set(tmp_path: Path) -> None:
    without, with_field = stage(tmp_path, max_documents=None), stage(tmp_path)
    assert [len(plan_passes([one])) for one in (without, with_field)] == [1, 2]
    planned = plan_passes([with_field])[1]
    assert (planned.name, planned.label) == ("01-decontaminate", "decontaminate")
    assert isinstance(planned.barrier, CountNgrams)


def test_the_order_of_tasks_changes_no_byte_and_a_second_survey_does_nothing(tmp_path: Path) -> None:
    def backwards(tasks: list[Any]) -> list[Any]:
        return tasks[::-1]

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    shards = [[COMMON] * 3, [RARE, COMMON], [COMMON]]
    first = counted(tmp_path / "a", shards)[1]
    second = counted(tmp_path / "b", shards, SerialRunner(backwards))[1]
    assert output_of(tmp_path / "a" / "survey") == output_of(tmp_path / "b" / "survey")
    assert isinstance(first, DocumentStage)
    assert isinstance(second, DocumentStage)
    again, other = SerialRunner(), SerialRunner()
    counted(tmp_path / "a", shards, again)
    counted(tmp_path / "a", shards, other, max_documents=2)
    assert again.executed == []
    assert other.executed == ["common"]


def test_a_file_that_is_gone_or_of_other_sets_stops_the_job_and_is_named(tmp_path: Path) -> None:
    corpus, applying = counted(tmp_path, [[COMMON], [RARE]])
    path = tmp_path / "survey/common/common.arrow"
    path.write_bytes((tmp_path / "survey/counts/shard-00000.arrow").read_bytes())
    with pytest.raises(UserError, match=r"common/common\.arrow"):
        apply_to(corpus, applying)

    (tmp_path / "other").mkdir()
    with pytest.raises(ShardsFailed, match=r"counts/shard-00001\.arrow is missing"):
        counted(tmp_path / "other", [[COMMON], [RARE]], Careless("counts", "shard-00001.arrow"))


def test_an_empty_corpus_is_counted(tmp_path: Path) -> None:
    barrier = stage(tmp_path).barrier()
    assert barrier is not None
    corpus = write_corpus(tmp_path / "corpus", [[]])
    assert apply_to(corpus, barrier.survey(corpus, str(tmp_path / "survey"), SerialRunner())) == {}
