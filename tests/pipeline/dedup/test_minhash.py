"""Near-duplicates: found as brute force finds them, kept by order, verified, never lost silently."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.dedup import removals
from pipeline.dedup.keeping import KeepRule, kept_documents
from pipeline.dedup.minhash import MinhashDedup
from pipeline.dedup.shingles import shingles
from pipeline.errors import SettingError, ShardsFailed
from pipeline.shard import open_table
from pipeline.stage import Position
from tests.pipeline.dedup.corpora import apply_to, output_of, write_corpus
from tests.pipeline.runner import SerialRunner


def survey(tmp_path: Path, shards: list[list[Any]], runner: SerialRunner | None = None, **settings: Any):  # type: ignore[no-untyped-def]
    corpus = write_corpus(tmp_path / "corpus", shards)
    stage = MinhashDedup.model_validate(settings)
    return corpus, stage.survey(corpus, str(tmp_path / "survey"), runner or SerialRunner())


def families(seed: int, count: int = 40) -> list[str]:
    """Random texts with edited copies: from nearly equal to nearly unrelated."""
    chance = random.Random(seed)
    texts = []
    for _ in range(count):
        words = [str(chance.randrange(5000)) for _ in range(chance.randrange(20, 200))]
        texts.append(" ".join(words))
        for _ in range(chance.randrange(3)):
            edited = list(words)
            for _ in range(chance.randrange(1, 8)):
                edited[chance.randrange(len(edited))] = str(chance.randrange(5000))
            texts.append(" ".join(edited))
    chance.shuffle(texts)
    return texts


def in_shards(texts: list[str]) -> list[list[str]]:
    return [texts[:30], [], texts[30:31], texts[31:]]


def jaccard(left: np.ndarray, right: np.ndarray) -> float:
    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)


def brute_force(shards: list[list[str]], threshold: float) -> dict[str, str]:
    """The kept id of each removed document, by comparing all pairs."""
    names = [f"{index}-{row}" for index, texts in enumerate(shards) for row in range(len(texts))]
    sets = shingles([text for texts in shards for text in texts], 5)
    label = list(range(len(names)))
    for second in range(len(names)):
        for first in range(second):
            if jaccard(sets.of(first), sets.of(second)) >= threshold:
                old, new = max(label[first], label[second]), min(label[first], label[second])
                label = [new if value == old else value for value in label]
    return {names[place]: names[root] for place, root in enumerate(label) if root != place}


@pytest.mark.parametrize("partition_keys", [50, 16_000_000])
def test_removals_equal_brute_force_when_bands_miss_nothing(tmp_path: Path, partition_keys: int) -> None:
    shards = in_shards(families(1))
    corpus, stage = survey(tmp_path, shards, threshold=0.7, bands=60, rows=3, partition_keys=partition_keys)
    dropped = apply_to(corpus, stage)
    assert {identity: reason[3] for identity, reason in dropped.items()} == brute_force(shards, 0.7)
    assert len(dropped) > 10


def test_the_similarity_named_is_the_true_one_to_the_kept_document(tmp_path: Path) -> None:
    shards = in_shards(families(2))
    corpus, stage = survey(tmp_path, shards)
    for identity, (rule, _, threshold, kept_id, similarity) in apply_to(corpus, stage).items():
        texts = [shards[int(name.split("-")[0])][int(name.split("-")[1])] for name in (identity, kept_id)]
        sets = shingles(texts, 5)
        assert similarity == jaccard(sets.of(0), sets.of(1))
        assert threshold == "0.8"
        assert rule == ("near_duplicate" if similarity >= 0.8 else "near_duplicate_indirect")


def test_a_twin_of_a_twin_is_removed_as_indirect(tmp_path: Path) -> None:
    words = [str(number) for number in range(200)]
    middle = [f"x{number}" for number in range(15)] + words[15:]
    far = middle[:-15] + [f"y{number}" for number in range(15)]
    corpus, stage = survey(tmp_path, [[" ".join(words), " ".join(far)], [" ".join(middle)]])
    rules = {identity: reason[0] for identity, reason in apply_to(corpus, stage).items()}
    assert rules == {"0-1": "near_duplicate_indirect", "1-0": "near_duplicate"}


def test_without_verification_whatever_shares_a_band_goes(tmp_path: Path) -> None:
    shards = in_shards(families(3))
    loose: dict[str, Any] = {"threshold": 0.8, "bands": 60, "rows": 2}
    corpus, stage = survey(tmp_path / "a", shards, **loose)
    verified = set(apply_to(corpus, stage))
    corpus, stage = survey(tmp_path / "b", shards, **loose, verify=False)
    unverified = set(apply_to(corpus, stage))
    assert verified < unverified


def test_the_order_of_tasks_changes_no_byte(tmp_path: Path) -> None:
    def shuffled(tasks: list) -> list:  # type: ignore[type-arg]
        return random.Random(3).sample(tasks, len(tasks))

    shards = in_shards(families(4))
    _, first = survey(tmp_path / "a", shards, partition_keys=100)
    _, second = survey(tmp_path / "b", shards, SerialRunner(shuffled), partition_keys=100)
    assert output_of(tmp_path / "a" / "survey") == output_of(tmp_path / "b" / "survey")
    assert first.fingerprint() == second.fingerprint()


def test_the_size_of_partitions_changes_no_removal(tmp_path: Path) -> None:
    shards = in_shards(families(5))
    results = []
    for name, keys in (("a", 20), ("b", 500), ("c", 10**6)):
        corpus, stage = survey(tmp_path / name, shards, partition_keys=keys)
        results.append(apply_to(corpus, stage))
    assert results[0] == results[1] == results[2]


def test_a_document_repeated_many_times_makes_a_linear_number_of_pairs(tmp_path: Path) -> None:
    text = " ".join(str(number) for number in range(50))
    runner = SerialRunner()
    corpus, stage = survey(tmp_path, [[text] * 3000, [text] * 10], runner)
    dropped = apply_to(corpus, stage)
    assert len(dropped) == 3009
    assert {reason[3] for reason in dropped.values()} == {"0-0"}
    from pipeline import storage

    pairs = storage.read_json(str(tmp_path / "survey" / "pairs" / "partition-00000.json"))["pairs"]
    assert pairs < 2 * 3010


def test_short_documents_are_twins_only_when_their_words_are_equal(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, [["one two", "One, two!", "one three", "", "!!", "!! ", "单", "单"]])
    assert {identity: reason[3] for identity, reason in apply_to(corpus, stage).items()} == {
        "0-1": "0-0",
        "0-5": "0-4",
        "0-7": "0-6",
    }


def test_a_corpus_of_one_document_keeps_it(tmp_path: Path) -> None:
    corpus, stage = survey(tmp_path, [["alone in the whole wide world of text"]])
    assert apply_to(corpus, stage) == {}


def test_ids_that_repeat_do_not_confuse_documents(tmp_path: Path) -> None:
    texts = families(6, 3)[:2]
    rows = [{"id": "same", "text": text, "source": "s"} for text in (texts[0], "something else entirely", texts[0])]
    corpus = write_corpus(tmp_path / "corpus", [rows])
    stage = MinhashDedup().survey(corpus, str(tmp_path / "survey"), SerialRunner())
    outcome = stage.apply(open_table(corpus.path(corpus.shards[0])), Position(0, 0))
    assert [row for row, _ in outcome.drops.items()] == [2]


def test_bands_without_rows_are_refused() -> None:
    with pytest.raises(ValidationError, match="set both `bands` and `rows`"):
        MinhashDedup(bands=14)


@pytest.mark.parametrize("phase", ["bands", "pairs", "verified", "groups"])
def test_a_truncated_file_of_any_phase_is_an_error_that_names_it(tmp_path: Path, phase: str) -> None:
    class Careless(SerialRunner):
        def map(self, directory, label, tasks):  # type: ignore[no-untyped-def]
            records = super().map(directory, label, tasks)
            if label.endswith(phase):
                path = Path(directory, next(iter(records[-1]["files"])))
                path.write_bytes(path.read_bytes()[:-10])
            return records

    with pytest.raises(ShardsFailed, match=rf"{phase}/.*arrow is damaged or truncated"):
        survey(tmp_path, in_shards(families(7)), Careless())


def test_a_second_survey_does_nothing_and_a_lost_file_is_made_again(tmp_path: Path) -> None:
    shards = in_shards(families(8))
    survey(tmp_path, shards)
    before = output_of(tmp_path / "survey")
    again = SerialRunner()
    survey(tmp_path, shards, again)
    assert again.executed == []
    (tmp_path / "survey" / "bands" / "shard-00002.arrow").unlink()
    mending = SerialRunner()
    survey(tmp_path, shards, mending)
    assert mending.executed == ["shard-00002"]
    assert output_of(tmp_path / "survey") == before


def test_buckets_link_to_the_first_and_to_the_one_before() -> None:
    from pipeline.dedup.candidates import bucket_pairs

    keys = np.array([7, 5, 7, 7, 5, 9], np.uint64)
    first, second = bucket_pairs(keys, np.array([4, 1, 2, 9, 3, 8]))
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(1, 3), (2, 4), (2, 9), (4, 9)]


def kept_of(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> set[str]:
    corpus = write_corpus(tmp_path / "corpus", [rows[:2], rows[2:]])
    stage = MinhashDedup.model_validate(settings).survey(corpus, str(tmp_path / "survey"), SerialRunner())
    return {row["id"] for row in rows} - set(apply_to(corpus, stage))


def test_which_document_of_a_group_stays_is_a_rule(tmp_path: Path) -> None:
    words = [str(number) for number in range(100)]
    texts = {"a": words[:96], "b": words, "c": words[:98]}
    rows = [{"id": name, "text": " ".join(text), "source": f"s{name}"} for name, text in texts.items()]
    assert kept_of(tmp_path / "1", rows) == {"a"}
    assert kept_of(tmp_path / "2", rows, keep="longest") == {"b"}
    assert kept_of(tmp_path / "3", rows, keep="longest", keep_sources=["sx", "sc", "sa"]) == {"c"}


def test_the_best_value_of_a_column_stays_and_no_value_is_the_worst() -> None:
    class Values:
        def column(self, name: str, numbers: np.ndarray) -> list[Any]:
            return [[3.0, None, 5.0, 5.0, None, None][number] for number in numbers]

    document, root = np.arange(6), np.array([0, 0, 0, 0, 4, 4])
    for measure, expected in (("highest", [2, 2, 2, 2, 4, 4]), ("lowest", [0, 0, 0, 0, 4, 4])):
        rule = KeepRule(measure, "quality")  # type: ignore[arg-type]
        kept, _ = kept_documents(Values(), document, root, rule)  # type: ignore[arg-type]
        assert kept.tolist() == expected


def test_a_column_that_is_not_there_or_holds_no_numbers_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="keep_column: the documents' column quality does not exist here; no column"):
        survey(tmp_path / "a", [["x", "x"]], keep="highest", keep_column="quality")
    with pytest.raises(SettingError, match="keep_column: the documents' column id is no number"):
        survey(tmp_path / "b", [["x", "x"]], keep="lowest", keep_column="id")
    with pytest.raises(ValidationError, match="set `keep_column` exactly when"):
        MinhashDedup(keep="highest")


def chain(length: int) -> list[str]:
    """Texts each of which is near to the next, and the last a stranger to the first."""
    return [" ".join(str(number) for number in range(begin, begin + 100)) for begin in range(0, 5 * length, 5)]


def test_of_giant_chains_only_what_is_near_to_the_kept_one_goes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(removals, "GIANT_GROUP", 8)
    dropped = {}
    for policy in ("direct", "keep", "drop"):
        settings: dict[str, Any] = {"bands": 56, "rows": 2, "giant_groups": policy}
        corpus, stage = survey(tmp_path / policy, [chain(10), ["twin of none"]], **settings)
        dropped[policy] = set(apply_to(corpus, stage))
    assert dropped == {"direct": {"0-1", "0-2"}, "keep": set(), "drop": {f"0-{row}" for row in range(1, 10)}}


def test_a_capped_giant_group_keeps_its_best_and_all_others_name_the_best_one(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(removals, "GIANT_GROUP", 8)
    pair = " ".join(str(number) for number in range(1000, 1050))
    # The later a text of the chain, the longer its words: the best are the last ones.
    rows = [{"id": f"c{row}", "text": text, "source": "s"} for row, text in enumerate(chain(30)[-10:])]
    rows = [{**row, "text": row["text"] + "!" * place} for place, row in enumerate(rows)]
    shards = [rows[:4], [*rows[4:], *({"id": name, "text": pair, "source": "s"} for name in ("a", "b"))]]
    settings: dict[str, Any] = {"bands": 56, "rows": 2, "keep": "longest", "giant_groups": "cap"}
    for keeps in (1, 3, 10, 50):
        corpus, stage = survey(tmp_path / str(keeps), shards, **settings, giant_group_keeps=keeps)
        dropped = apply_to(corpus, stage)
        assert dropped.pop("b")[3] == "a"
        assert {identity: reason[3] for identity, reason in dropped.items()} == dict.fromkeys(
            (f"c{row}" for row in range(10 - keeps)), "c9"
        )
        kept = sum(
            stage.apply(open_table(corpus.path(shard)), Position(index, 0)).counts.get("kept_of_giant_groups", 0)
            for index, shard in enumerate(corpus.shards)
        )
        assert kept == min(keeps, 10) - 1


def test_a_cap_needs_its_number_and_a_number_needs_the_cap() -> None:
    for settings in ({"giant_groups": "cap"}, {"giant_group_keeps": 3}):
        with pytest.raises(ValidationError, match="set `giant_group_keeps` exactly when"):
            MinhashDedup.model_validate(settings)


def test_groups_become_columns_and_nothing_is_dropped(tmp_path: Path) -> None:
    text = " ".join(str(number) for number in range(50))
    corpus, stage = survey(tmp_path, [["alone", text], [text, "another"]], action="label")
    assert apply_to(corpus, stage) == {}
    found = [
        stage.apply(open_table(corpus.path(shard)), Position(index, 0)).documents.to_pylist()
        for index, shard in enumerate(corpus.shards)
    ]
    columns = [f"near_duplicate_{name}" for name in ("group", "of", "similarity", "group_size")]
    labels = [tuple(row[name] for name in columns) for rows in found for row in rows]
    assert labels == [(None,) * 4, (1, "0-1", 1.0, 2), (1, "0-1", 1.0, 2), (None,) * 4]
    empty = stage.apply(open_table(corpus.path(corpus.shards[0])).slice(0, 0), Position(0, 0)).documents
    assert empty.schema == stage.apply(open_table(corpus.path(corpus.shards[0])), Position(0, 0)).documents.schema


def test_the_plan_tells_the_curve_and_what_a_corpus_of_a_billion_documents_takes() -> None:
    curve, sizes = MinhashDedup().plan_lines(3_000 * 10**9)
    assert "14 bands x 8 rows" in curve
    assert "0.5: 5%, 0.6: 21%, 0.7: 56%, 0.8: 92%, 0.9: 100%" in curve
    assert "1,000,000,000 documents" in sizes
    assert "224 GB of band keys; reducers: 875 with 1.6 GB of memory each; groups in 5.37 GB" in sizes


def test_the_plan_of_nothing_is_small(tmp_path: Path) -> None:
    assert "about 1 documents" in MinhashDedup().plan_lines(0)[1]
