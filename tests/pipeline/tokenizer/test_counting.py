"""Counting the pieces of a corpus: exact, the same for any order and after any end, and weighted as told."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ShardsFailed, UserError
from pipeline.kernels.column import column_of
from pipeline.shard import StageDirectory
from pipeline.stage import Task
from pipeline.tokenizer import counting
from pipeline.tokenizer.counting import MANIFEST, count_pieces, read_counts, weight_of
from pipeline.tokenizer.counts import ONE, Counts
from pipeline.tokenizer.pieces import pieces_of
from pipeline.tokenizer.settings import Sampling, TokenizerSettings
from tests.pipeline.corpora import write_corpus
from tests.pipeline.runner import SerialRunner

SETTINGS = TokenizerSettings(vocab_size=300)
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "12",
    "lazy",
    "dogs,",
    "größer",
    "als",
    "世界",
    "\n\n\t",
    "don't",
]


def documents_of(shards: int, seed: int = 1) -> list[list[dict[str, Any]]]:
    draw = random.Random(seed)
    return [
        [
            {
                "text": " ".join(draw.choices(WORDS, k=draw.randrange(60))),
                "source": draw.choice(["web", "books", "code"]),
                "language": draw.choice(["en", "de", None]),
            }
            for _ in range(20)
        ]
        for _ in range(shards)
    ]


@pytest.fixture(scope="module")
def documents() -> list[list[dict[str, Any]]]:
    return documents_of(4)


@pytest.fixture(scope="module")
def corpus(documents: list[list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> StageDirectory:
    return write_corpus(tmp_path_factory.mktemp("corpus"), documents)


def pieces(texts: list[str], settings: TokenizerSettings = SETTINGS) -> Counter[bytes]:
    column = column_of(texts)
    found, counts = pieces_of(column, settings.pieces), Counter[bytes]()
    for document in range(len(texts)):
        start = int(column.offsets[document])
        for end in found.ends[found.starts[document] : found.starts[document + 1]].tolist():
            counts[column.data[start:end].tobytes()] += 1
            start = end
    return counts


def counted(counts: Counts) -> Counter[bytes]:
    bounds = counts.offsets.tolist()
    rows = [counts.data[bounds[place] : bounds[place + 1]].tobytes() for place in range(len(counts))]
    assert len(set(rows)) == len(rows)
    return Counter(dict(zip(rows, counts.counts.tolist(), strict=True)))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_pieces_of_the_corpus_are_counted(
    documents: list[list[dict[str, Any]]], corpus: StageDirectory, tmp_path: Path
) -> None:
    manifest = count_pieces(SETTINGS, corpus, str(tmp_path), SerialRunner())
    texts = [document["text"] for shard in documents for document in shard]
    expected = pieces(texts)
    assert counted(read_counts(str(tmp_path), manifest)) == expected
    assert manifest["documents"] == len(texts)
    assert manifest["text_bytes"] == sum(len(text.encode()) for text in texts)
    assert (manifest["pieces"], manifest["distinct_pieces"]) == (expected.total(), len(expected))
    assert (manifest["long_pieces"], manifest["rare_pieces"]) == (0, 0)


def test_order_of_tasks_and_limits_of_memory_change_no_byte(
    corpus: StageDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_pieces(SETTINGS, corpus, str(tmp_path / "a"), SerialRunner())
    backwards = SerialRunner(order=lambda tasks: tasks[::-1])
    count_pieces(SETTINGS, corpus, str(tmp_path / "b"), backwards)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    monkeypatch.setattr(counting, "MOST_ENTRIES", 7)
    manifest = count_pieces(SETTINGS, corpus, str(tmp_path / "c"), SerialRunner())
    partitions = [entry["file"] for entry in manifest["files"]]
    assert partitions
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes() for name in partitions)


def test_counts_of_shards_are_removed_when_all_are_added_up(corpus: StageDirectory, tmp_path: Path) -> None:
    manifest = count_pieces(SETTINGS, corpus, str(tmp_path), SerialRunner())
    names = {entry["file"] for entry in manifest["files"]}
    assert set(files(tmp_path)) == {MANIFEST, *names, *(name.replace(".arrow", ".json") for name in names)}


@pytest.mark.parametrize("survivors", [0, 2, 4, 6])
def test_a_killed_count_continues_where_it_was(survivors: int, corpus: StageDirectory, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Mortal(SerialRunner):
        """Dies at the start of a task."""

        def map(self, directory: str, label: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
            for place in range(len(tasks)):
                if len(self.executed) == survivors:
                    raise Killed
                super().map(directory, label, tasks[: place + 1])
            return super().map(directory, label, tasks)

    with pytest.raises(Killed):
        count_pieces(SETTINGS, corpus, str(tmp_path / "killed"), Mortal())
    assert not (tmp_path / "killed" / MANIFEST).exists()
    second = SerialRunner()
    count_pieces(SETTINGS, corpus, str(tmp_path / "killed"), second)
    count_pieces(SETTINGS, corpus, str(tmp_path / "whole"), whole := SerialRunner())
    assert len(second.executed) == len(whole.executed) - survivors
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_finished_count_is_kept_and_a_damaged_one_made_again(corpus: StageDirectory, tmp_path: Path) -> None:
    first = count_pieces(SETTINGS, corpus, str(tmp_path), SerialRunner())
    # What decides no count changes nothing: the vocabulary may be tried in several sizes.
    for settings in (SETTINGS, TokenizerSettings(vocab_size=400, min_frequency=5, reserved_tokens=3)):
        assert count_pieces(settings, corpus, str(tmp_path), runner := SerialRunner()) == first
        assert runner.executed == []
    before = files(tmp_path)
    damaged = tmp_path / first["files"][0]["file"]
    damaged.write_bytes(damaged.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"partition-00000\.arrow is missing or was changed"):
        read_counts(str(tmp_path), first)
    assert count_pieces(SETTINGS, corpus, str(tmp_path), SerialRunner()) == first
    assert files(tmp_path) == before
    gpt4 = SETTINGS.model_copy(update={"pre_tokenization": "gpt4"})
    assert count_pieces(gpt4, corpus, str(tmp_path), SerialRunner()) != first


def test_a_damaged_shard_is_named_and_the_others_are_kept(
    documents: list[list[dict[str, Any]]], tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus", documents)
    shard = tmp_path / "corpus" / "shard-00002.arrow"
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(ShardsFailed, match=r"shard-00002\.arrow is damaged"):
        count_pieces(SETTINGS, corpus, str(tmp_path / "counts"), SerialRunner())
    shard.write_bytes(content)
    runner = SerialRunner()
    count_pieces(SETTINGS, corpus, str(tmp_path / "counts"), runner)
    assert [key for key in runner.executed if key.startswith("shard")] == ["shard-00002"]


@pytest.mark.parametrize("by", ["source", "language"])
def test_smaller_groups_count_as_if_they_were_there_more_often(
    by: str, documents: list[list[dict[str, Any]]], corpus: StageDirectory, tmp_path: Path
) -> None:
    sampling = Sampling.model_validate({"by": by, "temperature": 0.5})
    settings = SETTINGS.model_copy(update={"sampling": sampling})
    manifest = count_pieces(settings, corpus, str(tmp_path), SerialRunner())
    texts: dict[str, list[str]] = {}
    for document in (document for shard in documents for document in shard):
        texts.setdefault(document[by] or "unknown", []).append(document["text"])
    sizes = {name: sum(len(text.encode()) for text in group) for name, group in texts.items()}
    assert {name: group["text_bytes"] for name, group in manifest["groups"].items()} == sizes
    expected = Counter[bytes]()
    for name, group in texts.items():
        weight = manifest["groups"][name]["weight"]
        assert weight / ONE == pytest.approx((max(sizes.values()) / sizes[name]) ** 0.5, abs=1 / ONE)
        for piece, count in pieces(group).items():
            expected[piece] += (count * weight + ONE // 2) // ONE
    assert counted(read_counts(str(tmp_path), manifest)) == expected


@given(
    sizes=st.tuples(st.integers(1, 1 << 50), st.integers(1, 1 << 50)),
    temperature=st.decimals(0, 1, places=3).map(float),
)
def test_shares_become_powers_of_shares(sizes: tuple[int, int], temperature: float) -> None:
    small, large = sorted(sizes)
    weight = weight_of(small, large, temperature)
    exact = (Decimal(large) / Decimal(small)) ** (1 - Decimal(str(temperature))) * ONE
    assert abs(weight - exact) <= Decimal("0.5") + exact / 10**20
    assert weight_of(large, large, temperature) == ONE


def test_temperature_one_is_no_sampling_at_all(corpus: StageDirectory, tmp_path: Path) -> None:
    plain = count_pieces(SETTINGS, corpus, str(tmp_path / "plain"), SerialRunner())
    settings = SETTINGS.model_copy(update={"sampling": Sampling(by="language", temperature=1)})
    natural = count_pieces(settings, corpus, str(tmp_path / "natural"), SerialRunner())
    assert natural["files"] == plain["files"]


def test_long_and_rare_pieces_are_left_out_and_told(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", [[{"text": "x" * 100 + " a a b"}], [{"text": " a" + "y" * 20}]])
    settings = TokenizerSettings(vocab_size=300, max_piece_bytes=16, min_piece_count=2)
    manifest = count_pieces(settings, corpus, str(tmp_path / "counts"), SerialRunner())
    assert counted(read_counts(str(tmp_path / "counts"), manifest)) == Counter({b" a": 2})
    assert (manifest["long_pieces"], manifest["long_piece_bytes"]) == (2, 100 + 22)
    assert (manifest["rare_pieces"], manifest["distinct_pieces"]) == (1, 2)


def test_a_corpus_without_text_has_no_pieces(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", [[], [{"text": ""}]])
    sampling = SETTINGS.model_copy(update={"sampling": Sampling(by="source", temperature=0)})
    for settings in (SETTINGS, sampling):
        manifest = count_pieces(settings, corpus, str(tmp_path / "counts"), SerialRunner())
        assert (manifest["documents"], manifest["text_bytes"], manifest["pieces"]) == (1, 0, 0)
        assert len(read_counts(str(tmp_path / "counts"), manifest)) == 0
