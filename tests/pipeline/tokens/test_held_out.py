"""No duplicate cluster has documents on both sides of the split, with the labels of real deduplication."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline import corpus, storage
from pipeline.dedup.exact import ExactDedup
from pipeline.dedup.minhash import MinhashDedup
from pipeline.shard import ArrowWriter, StageDirectory
from pipeline.sources.jsonl import JsonLines
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from pipeline.tokens.held_out import held_out, join_clusters
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.write import write_tokens
from tests.pipeline.corpora import write_texts
from tests.pipeline.runner import SerialRunner
from tests.pipeline.tokens.reading import rows_of

WORDS = [f"word{number}" for number in range(400)]
FAMILIES = 40


def _families() -> list[tuple[int, str]]:
    """Texts of several families: equal ones, nearly equal ones, and ones of other spacing."""
    draw = random.Random(4)
    texts = []
    for family in range(FAMILIES):
        words = draw.choices(WORDS, k=120)
        for member in range(draw.randint(1, 5)):
            changed = list(words)
            if member > 1:
                changed[draw.randrange(120)] = f"changed{member}"
            texts.append((family, (" " if member % 2 else "  ").join(changed)))
    draw.shuffle(texts)
    return texts


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> StageDirectory:
    folder = tmp_path_factory.mktemp("labelled")
    documents = [
        json.dumps({"id": f"{family}-{number}", "text": text}) for number, (family, text) in enumerate(_families())
    ]
    for part, (begin, end) in enumerate(pairwise([0, 40, 80, len(documents)])):
        (folder / f"{part}.jsonl").write_text("\n".join(documents[begin:end]))
    stages = [ExactDedup(action="label"), MinhashDedup(action="label")]
    place = str(folder / "corpus")
    corpus.build_corpus([JsonLines(path=str(folder / "*.jsonl"))], stages, place, SerialRunner(), 0.0)
    return corpus.open_corpus(place)


def test_documents_of_one_family_are_all_on_one_side(labelled: StageDirectory, tmp_path: Path) -> None:
    clusters = join_clusters(labelled, str(tmp_path), SerialRunner())
    assert clusters is not None
    for seed in range(5):
        sides: dict[str, set[bool]] = {}
        for table in labelled.batches():
            for name, side in zip(table["id"].to_pylist(), held_out(table, 0.5, seed, clusters), strict=True):
                sides.setdefault(name.split("-")[0], set()).add(bool(side))
        assert len(sides) == FAMILIES
        assert all(len(found) == 1 for found in sides.values())
        assert 8 < sum(found == {True} for found in sides.values()) < 32


def test_without_the_labels_the_families_would_be_torn_apart(labelled: StageDirectory) -> None:
    sides: dict[str, set[bool]] = {}
    for table in labelled.batches():
        alone = table.select(["text"])
        for name, side in zip(table["id"].to_pylist(), held_out(alone, 0.5, 0, None), strict=True):
            sides.setdefault(name.split("-")[0], set()).add(bool(side))
    assert any(len(found) == 2 for found in sides.values())


def test_the_written_dataset_has_no_family_on_both_sides(labelled: StageDirectory, tmp_path: Path) -> None:
    train_tokenizer(TokenizerSettings(vocab_size=600), labelled, str(tmp_path / "tokenizer"), SerialRunner())
    fields = TokensSettings(context_length=512, validation_fraction=0.3, packing="best_fit")
    write_tokens(fields, labelled, str(tmp_path / "tokenizer"), str(tmp_path / "tokens"), SerialRunner())
    from pipeline.tokenizer.load import load_tokenizer

    encoder = load_tokenizer(str(tmp_path / "tokenizer" / "tokenizer.json"))
    family_of = {" ".join(text.split()): family for family, text in _families()}
    families: dict[str, set[int]] = {}
    for split in ("train", "validation"):
        found = set()
        for row in rows_of(tmp_path / "tokens", split):
            for _, targets in row.pieces():
                found.add(family_of[" ".join(encoder.decode(list(targets[:-1])).split())])
        families[split] = found
    assert not families["train"] & families["validation"]
    assert families["train"] | families["validation"] == set(range(FAMILIES))


def _corpus_with(folder: Path, columns: dict[str, list[Any]]) -> StageDirectory:
    """A corpus of one shard with group columns as given."""
    count = len(next(iter(columns.values())))
    texts = [f"text {number}" for number in range(count)]
    directory = write_texts(folder, [texts])
    table = pa.ipc.open_stream(str(folder / "shard-00000.arrow")).read_all()
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.int64()))
    with storage.write_atomically(str(folder / "shard-00000.arrow")) as file:
        writer = ArrowWriter(file, table.schema)
        writer.write(table)
        writer.close()
    return directory


def test_groups_of_both_columns_that_share_documents_are_one_cluster(tmp_path: Path) -> None:
    """A chain: exact 0 - near 0 - exact 2 - near 4, and others that only look alike by number."""
    columns = {
        "exact_duplicate_group": [0, 0, 2, 2, None, None, 9, 9, None],
        "near_duplicate_group": [None, 0, 0, 4, 4, 0, None, None, 9],
    }
    directory = _corpus_with(tmp_path / "corpus", columns)
    clusters = join_clusters(directory, str(tmp_path), SerialRunner())
    [table] = directory.batches()
    chosen = np.array([held_out(table, 0.5, seed, clusters) for seed in range(40)])
    assert all((chosen[:, 0] == chosen[:, place]).all() for place in range(6))
    assert (chosen[:, 6] == chosen[:, 7]).all()
    assert (chosen[:, 6] != chosen[:, 8]).any()
    assert (chosen[:, 0] != chosen[:, 6]).any()
    assert 8 < chosen[:, 0].sum() < 32


def test_a_corpus_with_one_column_needs_no_joining(tmp_path: Path) -> None:
    directory = _corpus_with(tmp_path / "corpus", {"near_duplicate_group": [3, None, 3, 5, 5]})
    assert join_clusters(directory, str(tmp_path), SerialRunner()) is None
    [table] = directory.batches()
    chosen = np.array([held_out(table, 0.5, seed, None) for seed in range(40)])
    assert (chosen[:, 0] == chosen[:, 2]).all()
    assert (chosen[:, 3] == chosen[:, 4]).all()
    assert (chosen[:, 0] != chosen[:, 3]).any()


def test_columns_without_a_shared_document_are_no_problem(tmp_path: Path) -> None:
    columns = {"exact_duplicate_group": [0, 0, None], "near_duplicate_group": [None, None, 2]}
    directory = _corpus_with(tmp_path / "corpus", columns)
    clusters = join_clusters(directory, str(tmp_path), SerialRunner())
    [table] = directory.batches()
    chosen = np.array([held_out(table, 0.5, seed, clusters) for seed in range(20)])
    assert (chosen[:, 0] == chosen[:, 1]).all()
