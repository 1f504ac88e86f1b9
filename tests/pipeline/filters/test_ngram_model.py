"""The n-gram model: equal to a slow dictionary version of modified Kneser-Ney, a distribution, safe on disk."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.filters.kneser_ney import estimate
from pipeline.filters.ngram_model import NgramModel

START = 0
WORDS = 100
VOCABULARY = WORDS + 2
Gram = tuple[int, ...]


class ObviousModel:
    """Modified Kneser-Ney as Chen and Goodman write it, with dictionaries and recursion."""

    def __init__(self, documents: list[list[int]], order: int, vocabulary: int) -> None:
        self.order, self.vocabulary = order, vocabulary
        plain: dict[int, Counter[Gram]] = {n: Counter() for n in range(1, order + 1)}
        for document in documents:
            for n in plain:
                plain[n].update(tuple(document[i : i + n]) for i in range(len(document) - n + 1))
        self.counts: dict[int, dict[Gram, int]] = {order: dict(plain[order])}
        for n in range(1, order):
            left = defaultdict(set)
            for gram in plain[n + 1]:
                left[gram[1:]].add(gram[0])
            self.counts[n] = {gram: count if gram[0] == START else len(left[gram]) for gram, count in plain[n].items()}
        self.counts[1].pop((START,), None)
        self.followers: dict[Gram, list[Gram]] = defaultdict(list)
        for n in self.counts:
            for gram in self.counts[n]:
                self.followers[gram[:-1]].append(gram)
        self.discounts = {n: self.discounts_of(self.counts[n]) for n in self.counts}

    @staticmethod
    def discounts_of(counts: dict[Gram, int]) -> list[float]:
        n1, n2, n3, n4 = (sum(1 for count in counts.values() if count == value) for value in (1, 2, 3, 4))
        if 0 in (n1, n2, n3, n4):
            return [0, 0.5, 1.0, 1.5]
        y = n1 / (n1 + 2 * n2)
        found = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return found if all(0 <= value <= k for k, value in enumerate(found)) else [0, 0.5, 1.0, 1.5]

    def probability(self, context: Gram, token: int) -> float:
        n = len(context) + 1
        lower = self.probability(context[1:], token) if context else 1 / (self.vocabulary - 1)
        followers = {gram: self.counts[n][gram] for gram in self.followers.get(context, [])}
        total = sum(followers.values())
        if not total:
            return lower
        reserved = sum(self.discounts[n][min(count, 3)] for count in followers.values())
        count = followers.get((*context, token), 0)
        return (count - self.discounts[n][min(count, 3)]) / total + reserved / total * lower


def flat(documents: list[list[int]]) -> np.ndarray:
    return np.array([token for document in documents for token in document], np.int64)


def closed(documents: list[list[int]], vocabulary: int) -> list[list[int]]:
    return [[START, *document, vocabulary - 1] for document in documents]


def zipf_documents(seed: int) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 60, 120)
    return [np.minimum(generator.zipf(1.3, length), WORDS).astype(int).tolist() for length in lengths]


@pytest.mark.parametrize("order", [2, 3, 5])
def test_probabilities_equal_those_of_the_obvious_model(order: int) -> None:
    seen, unseen = closed(zipf_documents(1), VOCABULARY), closed(zipf_documents(2)[:8], VOCABULARY)
    model = estimate(flat(seen), order, VOCABULARY, START)
    oracle = ObviousModel(seen, order, VOCABULARY)
    assert any(discounts[1] != 0.5 for discounts in oracle.discounts.values())
    for document in [*seen[:4], *unseen]:
        found = model.log_probabilities(flat([document]))
        for place in range(1, len(document)):
            context = tuple(document[max(0, place - order + 1) : place])
            expected = oracle.probability(context, document[place])
            assert math.isclose(math.exp(found[place]), expected, rel_tol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(1, 6), max_size=12), max_size=6), st.lists(st.integers(1, 6), max_size=4))
def test_probabilities_after_any_context_sum_to_one(documents: list[list[int]], context: list[int]) -> None:
    vocabulary = 8
    model = estimate(flat(closed(documents, vocabulary)), 3, vocabulary, START)
    total = sum(
        math.exp(model.log_probabilities(np.array([START, *context, token]))[-1]) for token in range(1, vocabulary)
    )
    assert math.isclose(total, 1.0, rel_tol=1e-9)


def test_documents_in_one_array_do_not_see_each_other() -> None:
    documents = closed(zipf_documents(3), VOCABULARY)
    model = estimate(flat(documents), 4, VOCABULARY, START)
    together = model.log_probabilities(flat(documents))
    assert np.array_equal(together, np.concatenate([model.log_probabilities(flat([one])) for one in documents]))


def test_a_saved_model_scores_alike_and_saves_to_equal_bytes(tmp_path: Path) -> None:
    tokens = flat(closed(zipf_documents(4), VOCABULARY))
    model = estimate(tokens, 4, VOCABULARY, START)
    first, second = str(tmp_path / "a.arrow"), str(tmp_path / "b.arrow")
    assert model.save(first) == estimate(tokens, 4, VOCABULARY, START).save(second)
    loaded = NgramModel.load(first)
    assert np.allclose(loaded.log_probabilities(tokens), model.log_probabilities(tokens), rtol=1e-6)


def test_a_model_of_nothing_is_uniform() -> None:
    model = estimate(np.empty(0, np.int64), 3, 11, START)
    assert np.allclose(np.exp(model.log_probabilities(np.array([START, 3, 10]))[1:]), 0.1)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_model_is_named(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "model.arrow"
    estimate(flat(closed(zipf_documents(5), VOCABULARY)), 3, VOCABULARY, START).save(str(path))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(UserError, match=r"model\.arrow is damaged or truncated"):
        NgramModel.load(str(path))


def test_a_missing_model_and_a_file_of_another_kind_are_named(tmp_path: Path) -> None:
    from pipeline.dedup.partitions import write_partitions

    with pytest.raises(UserError, match=r"gone\.arrow is missing"):
        NgramModel.load(str(tmp_path / "gone.arrow"))
    import pyarrow as pa

    write_partitions(str(tmp_path / "other.arrow"), pa.table({"key": [1]}), np.zeros(1, np.int64), 1, "else")
    with pytest.raises(UserError, match=r"other\.arrow is no n-gram model"):
        NgramModel.load(str(tmp_path / "other.arrow"))
