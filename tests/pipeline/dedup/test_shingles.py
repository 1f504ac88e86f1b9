"""Shingles: the batch computation equals the obvious one, document by document."""

import re

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.shingles import jaccard, shingles

MASK = (1 << 64) - 1


def obvious_shingles(text: str, size: int) -> set[int]:
    """The definition in the module's docstring, one shingle at a time; for texts without unspaced scripts."""
    words = re.findall(r"\w+", text.lower()) or [text.strip()]
    runs = [words[begin : begin + size] for begin in range(max(1, len(words) - size + 1))]
    return {mixed(run) for run in runs}


def mixed(run: list[str]) -> int:
    value = 0
    for word in run:
        value = (value * 0x9E3779B97F4A7C15 + xxhash.xxh3_64_intdigest(word.encode())) & MASK
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & MASK
    value ^= value >> 33
    value = value * 0xC4CEB9FE1A85EC53 & MASK
    return value ^ (value >> 33)


latin = st.text(alphabet="aB éß1_.,!? \n\t", max_size=80)


@settings(deadline=None)
@given(st.lists(latin, max_size=8), st.integers(1, 7))
def test_a_batch_equals_the_documents_one_by_one(texts: list[str], size: int) -> None:
    found = shingles(texts, size)
    assert len(found.starts) == len(texts) + 1
    for row, text in enumerate(texts):
        assert set(found.of(row).tolist()) == obvious_shingles(text, size)


@settings(deadline=None)
@given(st.lists(st.text(max_size=50), max_size=5))
def test_every_document_has_a_shingle_whatever_its_characters(texts: list[str]) -> None:
    assert (np.diff(shingles(texts, 5).starts) >= 1).all()


def test_a_document_shorter_than_a_shingle_is_one_shingle_of_all_its_words() -> None:
    found = shingles(["only three words", "Only  THREE words!", "only three word"], 5)
    assert found.of(0) == found.of(1)
    assert found.of(0) != found.of(2)


def test_documents_without_a_word_are_told_apart_by_their_characters() -> None:
    found = shingles(["!!!", " !!! ", "???", ""], 5)
    assert found.of(0) == found.of(1)
    assert len({int(found.of(row)[0]) for row in range(4)}) == 3


@pytest.mark.parametrize(
    ("text", "words"), [("这是一个测试", 6), ("これはテスト", 6), ("นี่คือ", 6), ("abc这def", 3), ("한국어 문장", 2)]
)
def test_scripts_without_spaces_are_cut_into_characters(text: str, words: int) -> None:
    assert len(shingles([text], 1).hashes) == words


@settings(deadline=None)
@given(st.sets(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 30), min_size=1))
def test_jaccard_is_that_of_sets(left: set[int], right: set[int]) -> None:
    arrays = [np.array(sorted(values), np.uint64) for values in (left, right)]
    assert jaccard(*arrays) == len(left & right) / len(left | right)
