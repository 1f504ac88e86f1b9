"""What an earlier corpus holds nearly the same of goes, without that corpus, before the rest choose whom to keep."""

from __future__ import annotations

import random
import shutil
import statistics
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.dedup.minhash import MinhashDedup
from pipeline.dedup.near_index import MANIFEST, power_of_two
from pipeline.dedup.near_index_search import MATCHES_IN_A_BUCKET, bucket_matches
from pipeline.dedup.shingles import shingles
from pipeline.shard import StageDirectory, open_table
from pipeline.stage import DocumentStage, Position, Task
from tests.pipeline.dedup.corpora import apply_to, output_of, write_corpus
from tests.pipeline.runner import SerialRunner

Shards = Sequence[Sequence[dict[str, Any] | str]]


def words(seed: int, count: int = 150) -> list[str]:
    chance = random.Random(seed)
    return [str(chance.randrange(100_000)) for _ in range(count)]


def edited(text: list[str], seed: int, edits: int) -> str:
    """The text with so many words changed: each costs some 5 of 150 shingles."""
    chance = random.Random(seed)
    copy = list(text)
    for place in chance.sample(range(len(text)), edits):
        copy[place] = f"new{seed}"
    return " ".join(copy)


def documents(prefix: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": f"{prefix}{row}", "text": text, "source": "test"} for row, text in enumerate(texts)]


def write_index(folder: Path, name: str, shards: Shards, **settings: Any) -> str:
    """The index of a corpus that is gone afterwards, and what the stage dropped of it beside it."""
    corpus = write_corpus(folder / f"corpus-{name}", shards)
    stage = MinhashDedup(write_index=str(folder / name), **settings)
    stage.survey(corpus, str(folder / f"survey-{name}"), SerialRunner())
    shutil.rmtree(folder / f"corpus-{name}")
    return str(folder / name)


def search(
    folder: Path, shards: Shards, runner: SerialRunner | None = None, **settings: Any
) -> tuple[StageDirectory, DocumentStage]:
    corpus = write_corpus(folder / "corpus", shards)
    return corpus, MinhashDedup(**settings).survey(corpus, str(folder / "survey"), runner or SerialRunner())


def removed(folder: Path, shards: Shards, **settings: Any) -> dict[str, tuple[str, str]]:
    """Rule and kept id of what is dropped."""
    return {
        identity: (reason[0], reason[3]) for identity, reason in apply_to(*search(folder, shards, **settings)).items()
    }


def months(seed: int, count: int = 60) -> tuple[list[list[dict[str, Any]]], list[list[dict[str, Any]]]]:
    """Two corpora in shards: half of the second is edited from the first, and it has twins in itself."""
    chance = random.Random(seed)
    old = [words(1000 * seed + number, chance.randrange(60, 200)) for number in range(count)]
    fresh = [words(1000 * seed + count + number, 100) for number in range(count // 2)]
    new = [edited(text, row, chance.randrange(4)) for row, text in enumerate(old[: count // 2])]
    new += [edited(text, row, edits) for row, text in enumerate(fresh) for edits in (0, chance.randrange(3))]
    chance.shuffle(new)
    first, second = documents("old", [" ".join(text) for text in old]), documents("new", new)
    return [first[:20], [], first[20:]], [second[:9], second[9:50], [], second[50:]]


def test_what_is_near_to_an_earlier_document_is_dropped_and_names_it(tmp_path: Path) -> None:
    base, other = words(1), words(2)
    index = write_index(tmp_path, "june", [documents("old", [" ".join(other), " ".join(base)])])
    texts = ["nothing like it at all here", edited(base, 3, 1), " ".join(base)]
    corpus, stage = search(tmp_path, [documents("new", texts)], against=(index,))
    dropped = apply_to(corpus, stage)
    assert {identity: reason[3] for identity, reason in dropped.items()} == {"new1": "old1", "new2": "old1"}
    assert {reason[0] for reason in dropped.values()} == {"near_duplicate_known"}
    assert {reason[2] for reason in dropped.values()} == {"0.8"}
    sets = shingles([" ".join(base), texts[1]], 5)
    true = float(sets.jaccard(np.array([0]), np.array([1]))[0])
    assert dropped["new2"][4] == 1.0
    assert abs(dropped["new1"][4] - true) < 4 * (true * (1 - true) / 256) ** 0.5


def test_it_is_as_if_known_documents_had_been_dropped_before(tmp_path: Path) -> None:
    old, new = months(1)
    index = write_index(tmp_path, "june", old)
    both = removed(tmp_path / "both", new, against=(index,), partition_keys=100)
    known = {identity for identity, (rule, _) in both.items() if rule == "near_duplicate_known"}
    assert 10 < len(known) < len(both)
    rest = [[document for document in shard if document["id"] not in known] for shard in new]
    expected = removed(tmp_path / "rest", rest)
    assert {identity: reason for identity, reason in both.items() if identity not in known} == expected


def window(begin: int) -> str:
    """A hundred words of an endless text; similarity 0.81 to what begins 10 words away, 0.66 at 20."""
    return " ".join(map(str, range(1000 + begin, 1100 + begin)))


TRIO = [documents("new", [window(0), window(10), window(20)])]
CHAIN: dict[str, Any] = {"threshold": 0.74, "bands": 56, "rows": 2}


def test_of_a_group_whose_kept_document_is_known_an_unknown_one_stays(tmp_path: Path) -> None:
    assert set(removed(tmp_path / "alone", TRIO, **CHAIN)) == {"new1", "new2"}
    index = write_index(tmp_path, "june", [documents("old", [window(-10)])], **CHAIN)
    assert removed(tmp_path, TRIO, against=(index,), **CHAIN) == {
        "new0": ("near_duplicate_known", "old0"),
        "new2": ("near_duplicate", "new1"),
    }


def test_of_a_group_of_which_each_is_near_to_a_known_document_none_stays(tmp_path: Path) -> None:
    index = write_index(tmp_path, "june", [documents("old", [window(10)])], **CHAIN)
    assert removed(tmp_path, TRIO, against=(index,), **CHAIN) == {
        f"new{row}": ("near_duplicate_known", "old0") for row in range(3)
    }


def test_a_known_document_links_no_others(tmp_path: Path) -> None:
    middle = window(10).split()
    middle[47:53] = ["june"] * 6
    index = write_index(tmp_path, "june", [documents("old", [" ".join(middle)])], **CHAIN)
    assert removed(tmp_path, TRIO, against=(index,), **CHAIN) == {"new1": ("near_duplicate_known", "old0")}


def test_each_month_names_the_indexes_of_those_before(tmp_path: Path) -> None:
    texts = [" ".join(words(seed)) for seed in range(30, 36)]
    june = write_index(tmp_path, "june", [documents("june", texts[:2])])
    july = write_index(tmp_path, "july", [documents("july", texts[1:4])], against=(june,))
    assert open_index(july) == ["july1", "july2"]
    august = write_index(tmp_path, "august", [documents("august", texts)], against=(june, july))
    assert open_index(august) == ["august4", "august5"]


def open_index(url: str) -> list[str]:
    """Ids of the documents that an index holds."""
    import pyarrow as pa

    ids: list[str] = []
    for path in sorted(Path(url, "near", "entries").glob("*.arrow")):
        ids += pa.ipc.open_file(path).read_all()["id"].to_pylist()
    return ids


def test_the_most_similar_is_named_then_the_first_index_then_the_first_document(tmp_path: Path) -> None:
    base = words(7)
    like, equal = edited(base, 8, 2), " ".join(base)
    loose = {"giant_groups": "direct", "action": "label"}
    june = write_index(tmp_path, "june", [documents("june", [like]), documents("more", [like, like])], **loose)
    july = write_index(tmp_path, "july", [documents("july", [like, equal]), documents("x", [equal])], **loose)
    new = [documents("new", [equal, edited(base, 8, 2)])]
    kept = {identity: kept for identity, (_, kept) in removed(tmp_path / "1", new, against=(june, july)).items()}
    assert kept == {"new0": "july1", "new1": "june0"}
    kept = {identity: kept for identity, (_, kept) in removed(tmp_path / "2", new, against=(july, june)).items()}
    assert kept == {"new0": "july1", "new1": "july0"}


def test_the_sizes_of_partitions_change_no_removal(tmp_path: Path) -> None:
    old, new = months(2, 30)
    results = []
    for written in (60, 10**6):
        index = write_index(tmp_path, f"index{written}", old, partition_keys=written)
        for read in (30, 200, 10**6):
            results.append(removed(tmp_path / f"{written}-{read}", new, against=(index,), partition_keys=read))
    assert len(results[0]) > 10
    assert all(result == results[0] for result in results)


def test_the_order_of_tasks_changes_no_byte(tmp_path: Path) -> None:
    def shuffled(tasks: list[Any]) -> list[Any]:
        return random.Random(3).sample(tasks, len(tasks))

    old, new = months(3, 30)
    index = write_index(tmp_path, "june", old, partition_keys=100)
    for name, runner in (("a", SerialRunner()), ("b", SerialRunner(shuffled))):
        settings = {"against": (index,), "write_index": str(tmp_path / name / "july"), "partition_keys": 150}
        search(tmp_path / name, new, runner, **settings)
    assert output_of(tmp_path / "a") == output_of(tmp_path / "b")
    manifests = [(tmp_path / name / "july" / MANIFEST).read_bytes() for name in ("a", "b")]
    assert manifests[0] == manifests[1]


def test_labels_name_the_earlier_document_without_a_group(tmp_path: Path) -> None:
    base, other = " ".join(words(9)), " ".join(words(10))
    index = write_index(tmp_path, "june", [documents("old", [base])])
    corpus, stage = search(tmp_path, [documents("new", [base, other, other, base])], against=(index,), action="label")
    assert apply_to(corpus, stage) == {}
    rows = stage.apply(open_table(corpus.path(corpus.shards[0])), Position(0, 0)).documents.to_pylist()
    columns = [f"near_duplicate_{name}" for name in ("group", "of", "similarity", "group_size")]
    known, member = (None, "old0", 1.0, None), (1, "new1", 1.0, 2)
    assert [tuple(row[name] for name in columns) for row in rows] == [known, member, member, known]


def test_without_verification_whatever_shares_a_band_is_known(tmp_path: Path) -> None:
    base = words(11)
    loose: dict[str, Any] = {"bands": 60, "rows": 1}
    index = write_index(tmp_path, "june", [documents("old", [" ".join(base)])], **loose)
    new = [documents("new", [edited(base, 1, 15)])]
    assert removed(tmp_path / "a", new, against=(index,), **loose) == {}
    assert removed(tmp_path / "b", new, against=(index,), **loose, verify=False) == {
        "new0": ("near_duplicate_known", "old0")
    }


def test_a_text_that_comes_a_thousand_times_is_looked_up_with_few_matches(tmp_path: Path) -> None:
    text = " ".join(words(12, 40))
    index = write_index(tmp_path, "june", [documents("old", [text] * 300)], action="label")
    dropped = removed(tmp_path, [documents("a", [text] * 500), documents("b", [text] * 500)], against=(index,))
    assert len(dropped) == 1000
    assert {kept for _, kept in dropped.values()} == {"old0"}
    matches = open_table_of(tmp_path / "survey" / "matches")
    assert matches == 1000 * MATCHES_IN_A_BUCKET


def open_table_of(folder: Path) -> int:
    """Rows of all files of a phase."""
    import pyarrow as pa

    return sum(pa.ipc.open_file(path).read_all().num_rows for path in folder.glob("*.arrow"))


_keys = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=30)


@given(ours=_keys, known=_keys)
def test_matches_are_all_pairs_of_a_bucket_up_to_the_first_few_of_the_index(
    ours: list[tuple[int, int]], known: list[tuple[int, int]]
) -> None:
    arrays = [
        np.array([pair[side] for pair in pairs], kind)
        for pairs in (ours, known)
        for side, kind in ((0, np.uint64), (1, np.int64))
    ]
    document, entry, left_out = bucket_matches(*arrays)
    expected, more = set(), 0
    for key, number in ours:
        bucket = sorted(place for other, place in known if other == key)
        expected |= {(number, place) for place in bucket[:MATCHES_IN_A_BUCKET]}
        more += max(0, len(bucket) - MATCHES_IN_A_BUCKET)
    assert list(zip(document.tolist(), entry.tolist(), strict=True)) == sorted(expected)
    assert left_out == more


def test_partitions_are_powers_of_two() -> None:
    assert [power_of_two(least) for least in (0, 1, 2, 3, 4, 5, 875)] == [1, 1, 2, 4, 4, 8, 1024]


def test_an_index_is_not_written_over_one_that_is_read(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="must be another folder"):
        MinhashDedup(against=(str(tmp_path / "june"),), write_index=f"{tmp_path}/june")


def test_the_plan_tells_what_is_compared_and_what_an_index_takes(tmp_path: Path) -> None:
    index = write_index(tmp_path, "june", [documents("old", [" ".join(words(13))] * 2 + ["another text of few words"])])
    *_, compared, written = MinhashDedup(against=(index,), write_index="july").plan_lines(3_000 * 10**9)
    assert f"compared with 2 documents in {index}:" in compared
    assert "reducers: 1,024; similarity is estimated, at 0.8 with a standard error of 0.025" in compared
    assert "index july: at most 468 GB (468 bytes a document)" in written


def test_the_plan_names_the_manifests_that_must_be_there(tmp_path: Path) -> None:
    assert MinhashDedup(against=(str(tmp_path / "june"),)).files() == [str(tmp_path / "june" / MANIFEST)]


class Measuring(SerialRunner):
    """Notes the memory of Python and numpy in each task of each phase, beside what was there before it."""

    def __init__(self) -> None:
        super().__init__()
        self.peaks: dict[str, list[int]] = {}

    def map(self, directory: str, label: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        def measured(task: Task) -> Task:
            def function(**arguments: Any) -> dict[str, Any]:
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                record = task.function(**arguments)
                self.peaks.setdefault(label, []).append(tracemalloc.get_traced_memory()[1] - before)
                return record

            return replace(task, function=function)

        return super().map(directory, label, [measured(task) for task in tasks])


def peaks_of(folder: Path, shards: int) -> dict[str, int]:
    """What comparing so many shards of 60 documents with as many takes, by phase: of the task in the middle.

    Not of the largest: the interpreter enlarges a table of its own now and then, in whichever task that falls.
    """
    generator = np.random.default_rng(9)
    texts = [[" ".join(map(str, generator.integers(0, 1000, 150).tolist())) for _ in range(60)] for _ in range(shards)]
    index = write_index(folder, "june", texts, partition_keys=8000)
    corpus = write_corpus(folder / "corpus", [[*shard[:20], *(text[::-1] for text in shard[20:])] for shard in texts])
    stage = MinhashDedup(against=(index,), partition_keys=8000, write_index=str(folder / "july"))
    runner = Measuring()
    tracemalloc.start()
    stage.survey(corpus, str(folder / "survey"), runner)
    tracemalloc.stop()
    return {phase: statistics.median_low(peaks) for phase, peaks in runner.peaks.items()}


def test_memory_of_every_task_stays_flat_when_both_corpora_grow_tenfold(tmp_path: Path) -> None:
    old, new = months(6, 20)
    # What is loaded at its first use is no memory of a task.
    removed(tmp_path / "first", new, against=(write_index(tmp_path, "first-index", old),), partition_keys=400)
    small, large = peaks_of(tmp_path / "small", 2), peaks_of(tmp_path / "large", 20)
    assert len(small) == 10
    # Names and sums of 36 more files; the keys of 2,160 more documents alone would be 480 kB.
    assert {phase: large[phase] - small[phase] for phase in small if large[phase] - small[phase] > 100_000} == {}
