"""What `bench.minhash` is judged by: true pairs are those of comparing all; shuffled tasks keep their records."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

import pytest

from bench.minhash import _grown_documents, _read
from bench.near_pairs import near_pairs
from bench.shuffled_run import Shuffled
from pipeline.stage import Task


def texts(seed: int) -> list[str]:
    """Sixty texts of which many are edited copies of others; some are equal, some empty."""
    chance = random.Random(seed)
    found = ["", " ", "!"]
    while len(found) < 60:
        words = found[chance.randrange(len(found))].split() if chance.random() < 0.7 else []
        words = words or [chance.choice("abcdefgh") + str(chance.randrange(50)) for _ in range(chance.randrange(60))]
        for _ in range(chance.randrange(3)):
            if words:
                words[chance.randrange(len(words))] = str(chance.randrange(1000))
        found.append(" ".join(words))
    return found


def sets_of_runs(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[place : place + 5]) for place in range(max(1, len(words) - 4))}


@pytest.mark.parametrize("seed", range(5))
def test_the_true_pairs_are_those_of_comparing_all(seed: int) -> None:
    given = [text for text in texts(seed) if any(character.isalnum() for character in text)]
    expected = {}
    for (one, left), (other, right) in combinations(enumerate(map(sets_of_runs, given)), 2):
        similarity = len(left & right) / len(left | right)
        if similarity >= 0.5:
            expected[one, other] = similarity
    found = near_pairs(given, 0.5)
    pairs = zip(found.first.tolist(), found.second.tolist(), found.similarity.tolist(), strict=True)
    assert {(one, other): similarity for one, other, similarity in pairs} == expected
    assert len(expected) > 10


def noted(number: int, log: str) -> dict[str, int]:
    with Path(log).open("a") as file:
        file.write(f"{number}\n")
    return {"number": number}


def test_shuffled_tasks_run_in_another_order_and_give_their_records_in_the_old_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tasks = [Task(str(number), noted, {"number": number, "log": str(log)}, "") for number in range(20)]
    records = Shuffled(1).map(str(tmp_path), "noted", tasks)
    assert [record["number"] for record in records] == list(range(20))
    order = [int(line) for line in log.read_text().split()]
    assert sorted(order) == list(range(20)) != order


def test_grown_documents_are_as_large_as_asked_for_and_no_copies(tmp_path: Path) -> None:
    rows = [{"id": name, "text": " ".join(name * 3 + str(number) for number in range(40))} for name in "abc"]
    grown = _grown_documents(tmp_path / "grown", rows, 5_000)
    found = list(_read(grown.folder))
    assert len(found) == grown.count == len({row["id"] for row in found})
    assert 5_000 <= sum(len(row["text"].encode()) for row in found) == grown.text_bytes < 6_000
    assert not len(near_pairs([row["text"] for row in found], 0.5).first)
