"""Similarity is estimated from sketches without bias, with the error that is stated."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.dedup.shingles import Shingles, shingles
from pipeline.dedup.signatures import Permutations, Scheme, band_keys
from pipeline.dedup.sketches import SKETCH_BYTES, estimated_similarity, sketches


def pairs_of(similarity: float, count: int, union: int = 300) -> Shingles:
    """Documents 2n and 2n+1 have this Jaccard similarity."""
    generator = np.random.default_rng(5)
    common = round(similarity * union)
    alone = (union - common) // 2
    parts = []
    for _ in range(count):
        hashes = generator.integers(0, 1 << 64, common + 2 * alone, dtype=np.uint64)
        parts += [hashes[: common + alone], np.concatenate([hashes[:common], hashes[common + alone :]])]
    return Shingles(np.concatenate(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64))


def estimates(sets: Shingles, seed: int = 1, scheme: Scheme = "affine32") -> np.ndarray:
    made = sketches(sets, seed, scheme)
    return estimated_similarity(made[::2], made[1::2], np.arange(len(made) // 2), np.arange(len(made) // 2))


@pytest.mark.parametrize("scheme", ["affine32", "affine64"])
@pytest.mark.parametrize("similarity", [0.1, 0.5, 0.8, 0.96])
def test_the_estimate_has_no_bias_and_the_stated_error(scheme: Scheme, similarity: float) -> None:
    count = 1000
    found = estimates(pairs_of(similarity, count), scheme=scheme)
    error = (similarity * (1 - similarity) / SKETCH_BYTES) ** 0.5
    assert abs(found.mean() - similarity) < 4 * error / count**0.5 + 0.002
    assert 0.85 * error < found.std() < 1.15 * error


def test_equal_documents_are_fully_similar_and_strangers_not_at_all() -> None:
    made = sketches(
        shingles(["one two three four five six", "one two three four five six", "seven eight"], 5), 1, "affine32"
    )
    first, second = np.array([0, 0]), np.array([1, 2])
    equal, strange = estimated_similarity(made, made, first, second)
    assert equal == 1.0
    assert strange < 0.05


def test_that_a_pair_was_found_by_a_band_does_not_raise_its_estimate() -> None:
    sets = pairs_of(0.5, 3000)
    keys = band_keys(Permutations(112, 1).signatures(sets), 14, 8)
    share_a_band = (keys[::2] == keys[1::2]).any(axis=1)
    assert share_a_band.sum() > 80
    # The same values once more would say 0.5 + 0.5 * 8 / 112 = 0.536 at least.
    assert abs(estimates(sets)[share_a_band].mean() - 0.5) < 0.012


def test_pairs_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = pairs_of(0.7, 50)
    whole = estimates(sets)
    monkeypatch.setattr("pipeline.dedup.sketches._PART_PAIRS", 7)
    assert np.array_equal(estimates(sets), whole)
