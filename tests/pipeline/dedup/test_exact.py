"""Exact deduplication: one of equal texts stays, all others are named with the kept one."""

import random
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup.exact import ExactDedup, compared_texts
from pipeline.errors import SettingError, ShardsFailed, UserError
from pipeline.shard import DOCUMENT_SCHEMA, StageDirectory, open_table
from pipeline.stage import DocumentStage, Position
from tests.pipeline.dedup.corpora import Careless, apply_to, output_of, write_corpus
from tests.pipeline.runner import SerialRunner


def survey(tmp_path: Path, shards: list[list[Any]], runner: SerialRunner | None = None, **settings: Any):  # type: ignore[no-untyped-def]
    corpus = write_corpus(tmp_path / "corpus", shards)
    stage = ExactDedup.model_validate(settings)
    return corpus, stage.survey(corpus, str(tmp_path / "survey"), runner or SerialRunner())


def random_shards(seed: int) -> list[list[str]]:
    chance = random.Random(seed)
    texts = [f"text {chance.randrange(150)}" for _ in range(300)]
    return [texts[:100], [], texts[100:101], texts[101:]]


def test_the_first_in_corpus_order_is_kept_and_named(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, [["a b", "c"], ["c", "d"], ["a  b\n", "c"]])
    dropped = apply_to(corpus, stage)
    assert {identity: reason[3] for identity, reason in dropped.items()} == {"1-0": "0-1", "2-0": "0-0", "2-1": "0-1"}
    assert {reason[0] for reason in dropped.values()} == {"exact_duplicate"}
    assert {reason[4] for reason in dropped.values()} == {1.0}


def test_case_is_content_unless_told_otherwise(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path / "a", [["Word", "word"]])
    assert apply_to(corpus, stage) == {}
    corpus, stage = survey(tmp_path / "b", [["Word", "word"]], ignore_case=True)
    assert list(apply_to(corpus, stage)) == ["0-1"]


def test_white_space_counts_when_asked(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, [["a b", "a  b", "a b"]], ignore_whitespace=False)
    assert list(apply_to(corpus, stage)) == ["0-2"]


def test_composed_and_decomposed_characters_are_equal(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, [["caf\u00e9", "cafe\u0301"]])
    assert list(apply_to(corpus, stage)) == ["0-1"]


@pytest.mark.parametrize("ignore_whitespace", [False, True])
@pytest.mark.parametrize("ignore_case", [False, True])
@given(texts=st.lists(st.text() | st.text(alphabet="aB \n\u00c9\u0301\u0130\u3000\u1100\u1161\u03a3"), max_size=5))
def test_texts_are_compared_in_composed_form(ignore_whitespace: bool, ignore_case: bool, texts: list[str]) -> None:
    def reference(text: str) -> str:
        text = unicodedata.normalize("NFC", text.lower() if ignore_case else text)
        return " ".join(text.split()) if ignore_whitespace else text

    data, offsets = compared_texts(pa.chunked_array([pa.array(texts, pa.string())]), ignore_whitespace, ignore_case)
    content = data.tobytes()
    found = [content[offsets[row] : offsets[row + 1]].decode() for row in range(len(texts))]
    assert found == [reference(text) for text in texts]


@pytest.mark.parametrize("partition_documents", [1, 40, 1000])
def test_what_is_kept_equals_a_dictionary_of_all_texts(tmp_path: Path, partition_documents: int) -> None:
    shards = random_shards(1)
    corpus, stage = survey(tmp_path, shards, partition_documents=partition_documents)
    seen: dict[str, str] = {}
    expected = {}
    for index, texts in enumerate(shards):
        for row, text in enumerate(texts):
            identity = f"{index}-{row}"
            if seen.setdefault(text, identity) != identity:
                expected[identity] = seen[text]
    assert {identity: reason[3] for identity, reason in apply_to(corpus, stage).items()} == expected


def test_the_order_of_tasks_changes_no_byte(tmp_path: Path) -> None:
    def shuffled(tasks: list) -> list:  # type: ignore[type-arg]
        return random.Random(3).sample(tasks, len(tasks))

    shards = random_shards(2)
    _, first = survey(tmp_path / "a", shards, partition_documents=30)
    _, second = survey(tmp_path / "b", shards, SerialRunner(shuffled), partition_documents=30)
    assert output_of(tmp_path / "a" / "survey") == output_of(tmp_path / "b" / "survey")
    assert first.fingerprint() == second.fingerprint()


def test_a_second_survey_does_nothing_and_another_setting_all(tmp_path: Path) -> None:
    survey(tmp_path, random_shards(3))
    again, other = SerialRunner(), SerialRunner()
    survey(tmp_path, random_shards(3), again)
    survey(tmp_path, random_shards(3), other, ignore_case=True)
    assert again.executed == []
    assert len(other.executed) == 9


def test_a_corpus_of_one_document_and_one_of_all_alike(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path / "one", [["alone"]])
    assert apply_to(corpus, stage) == {}
    corpus, stage = survey(tmp_path / "alike", [["same"] * 1500, ["same"] * 20])
    assert len(apply_to(corpus, stage)) == 1519


def documents(*rows: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"id": f"{source}{row}", "text": text, "source": source} for row, (source, text) in enumerate(rows)]


def test_the_longest_stays_when_asked_and_sources_come_first(tmp_path: Path) -> None:
    rows = documents(("web", "a b"), ("web", "a   b"), ("book", "a b"), ("web", "a  b"))
    corpus, stage = survey(tmp_path / "a", [rows[:1], rows[1:]], keep="longest")
    assert {reason[3] for reason in apply_to(corpus, stage).values()} == {"web1"}
    corpus, stage = survey(tmp_path / "b", [rows[:1], rows[1:]], keep="longest", keep_sources=["book"])
    assert {reason[3] for reason in apply_to(corpus, stage).values()} == {"book2"}


def test_another_keep_rule_hashes_nothing_again(tmp_path: Path) -> None:
    again = SerialRunner()
    survey(tmp_path, random_shards(3))
    survey(tmp_path, random_shards(3), again, keep="longest")
    assert len(again.executed) == 5


def test_a_rule_by_column_needs_the_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set `keep_column` exactly when"):
        ExactDedup(keep="highest")
    # Also where no document has a twin, so that a misspelt column does not wait for the first one.
    with pytest.raises(SettingError, match="exact_dedup: keep_column: the documents' column perplexity does not exist"):
        survey(tmp_path, [["a", "b"]], keep="lowest", keep_column="perplexity")


def columns_of(corpus: StageDirectory, stage: DocumentStage, names: list[str]) -> list[tuple[Any, ...]]:
    """Values of the columns of all documents that the stage keeps."""
    kept = []
    for index, shard in enumerate(corpus.shards):
        outcome = stage.apply(open_table(corpus.path(shard)), Position(index, 0))
        rows = zip(*(outcome.documents[name].to_pylist() for name in names), strict=True)
        kept += [values for row, values in enumerate(rows) if row not in outcome.drops]
    return kept


def test_copies_are_counted_on_the_document_that_stays(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, [["a", "b", "a"], [], ["c", "a", "c"]], copies_column="copies")
    assert columns_of(corpus, stage, ["text", "copies"]) == [("a", 3), ("b", 1), ("c", 2)]
    empty = stage.apply(DOCUMENT_SCHEMA.empty_table(), Position(0, 0)).documents
    assert empty.schema.field("copies").type == pa.int64()


def test_a_column_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="exact_dedup: the documents have the columns source already"):
        survey(tmp_path, [["a"]], copies_column="source")
    assert not (tmp_path / "survey").exists(), "nothing was begun"


def test_groups_are_labelled_when_asked_and_nothing_is_dropped(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, [["a", "b", "a"]], action="label")
    columns = ["exact_duplicate_group", "exact_duplicate_of", "exact_duplicate_group_size"]
    assert columns_of(corpus, stage, columns) == [(0, "0-0", 2), (None, None, None), (0, "0-0", 2)]


def test_giant_groups_are_counted(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, [["same"] * 1000 + ["twin", "twin"]])
    outcome = stage.apply(open_table(corpus.path(corpus.shards[0])), Position(0, 0))
    assert outcome.counts == {"groups_of_duplicates": 2, "groups_of_1000_or_more": 1}


def test_a_missing_removals_file_stops_the_applying_stage(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, [["same", "same"]])
    (tmp_path / "survey" / "removals" / "shard-00000.arrow").unlink()
    with pytest.raises(UserError, match=r"removals/shard-00000\.arrow is missing"):
        apply_to(corpus, stage)


def test_a_file_that_vanishes_between_two_steps_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ShardsFailed, match=r"hashes/shard-00001\.arrow is missing"):
        survey(tmp_path, [["same"], ["same"]], Careless("hashes", "shard-00001.arrow"))


def test_an_empty_batch_passes_without_reading_anything(tmp_path: Path) -> None:
    _, stage = survey(tmp_path, [["a"]])
    assert stage.apply(DOCUMENT_SCHEMA.empty_table(), Position(99, 0)).documents.num_rows == 0
