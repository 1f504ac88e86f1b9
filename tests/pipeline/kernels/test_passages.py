"""Splitting into lines and paragraphs, and hashing what they say."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup.folding import folded
from pipeline.kernels.characters import classes
from pipeline.kernels.column import column_of
from pipeline.kernels.passages import find_hashes, hash_passages, split_passages

pieces = st.sampled_from(["a", "Ab", "\u00e9", " ", "\t", "\n", "\n\n", "\r\n", "\u2028", "\u3000", "\u6c49", "-", "."])
texts = st.lists(st.lists(pieces, max_size=20).map("".join), max_size=4)


def split(documents: list[str], paragraphs: bool = False) -> list[list[str]]:
    column = column_of(documents)
    starts, ends, offsets = split_passages(column.data, column.offsets, classes(), int(paragraphs))
    content = "".join(documents).encode()
    parts = [content[start:end].decode() for start, end in zip(starts, ends, strict=True)]
    return [parts[offsets[document] : offsets[document + 1]] for document in range(len(documents))]


def hashes(passages: list[str], ignore: tuple[str, ...] = (), run: int = 1) -> list[tuple[int, int, int]]:
    """(high, low, characters) of each passage, all of one document."""
    column = column_of(passages)
    offsets = np.array([0, len(passages)])
    found = hash_passages(column.data, column.offsets[:-1], column.offsets[1:], offsets, folded(ignore), run)
    return list(zip(*(part.tolist() for part in found), strict=True))


@given(texts)
def test_lines_are_those_of_splitlines_stripped_without_empty_ones(documents: list[str]) -> None:
    expected = [[line.strip() for line in text.splitlines() if line.strip()] for text in documents]
    assert split(documents) == expected


@given(texts)
def test_paragraphs_lie_between_blank_lines(documents: list[str]) -> None:
    def paragraphs(text: str) -> list[str]:
        joined = "\n".join(line.strip() for line in text.splitlines())
        return [part.strip() for part in re.split(r"\n{2,}", joined) if part.strip()]

    found = [["\n".join(map(str.strip, part.splitlines())) for part in parts] for parts in split(documents, True)]
    assert found == [paragraphs(text) for text in documents]


@pytest.mark.parametrize(
    ("first", "second", "ignore"),
    [
        ("two words", "two \t\u3000words", ()),
        ("soft\u00adhyphen", "softhyphen", ()),
        ("CASE \u00c9", "case \u00e9", ("case",)),
        ("caf\u00e9", "cafe\u0301", ("accents",)),
        ("\u0419", "\u0438", ("accents", "case")),
        ("it's - well, so", "its well so", ("punctuation",)),
        ("page 12", "page \u0663\u0664", ("digits",)),
    ],
)
def test_what_makes_no_difference(first: str, second: str, ignore: tuple[str, ...]) -> None:
    assert len(set(hashes([first, second], ignore))) == 1
    if ignore:
        assert len(set(hashes([first, second]))) == 2


@pytest.mark.parametrize("pair", [("ab", "a b"), ("a", "aa"), ("page 1", "page 2"), ("\u0915\u093f", "\u0915\u0940")])
def test_what_does(pair: tuple[str, str]) -> None:
    assert len({found[:2] for found in hashes(list(pair), ("case", "accents", "punctuation"))}) == 2


def test_characters_are_those_that_were_compared() -> None:
    assert [found[2] for found in hashes(["a  b", "...", "\u00c9t\u00e9!"], ("punctuation",))] == [3, 0, 3]


def test_runs_of_passages_depend_on_each_and_on_their_order() -> None:
    found = hashes(["a", "b", "c", "a", "b", "d", "a", "b", "c"], run=3)
    assert found[0] == found[6]
    assert len({one[:2] for one in found[:7]}) == 6
    assert [one[2] for one in found] == [3] * 7 + [-1, -1]


def test_no_two_of_many_numbers_share_either_half() -> None:
    numbers = [str(number) for number in range(200_000)]
    high, low, _ = (np.array(part, np.uint64) for part in zip(*hashes(numbers), strict=True))
    assert len(np.unique(high)) == len(np.unique(low)) == len(numbers)
    # Both halves spread over all partitions.
    assert np.bincount((high % np.uint64(16)).astype(int)).min() > 12_000


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 5), max_size=20))
def test_hashes_are_found_among_sorted_ones(known: list[int], wanted: list[int]) -> None:
    pairs = sorted({(number // 2, number % 2) for number in known})
    high, low = (np.array([pair[half] for pair in pairs], np.uint64) for half in (0, 1))
    high.flags.writeable = low.flags.writeable = False
    asked = np.array(wanted, np.uint64)
    found = find_hashes(asked // np.uint64(2), asked % np.uint64(2), high, low).tolist()
    assert [pairs[place] if place >= 0 else None for place in found] == [
        (number // 2, number % 2) if (number // 2, number % 2) in pairs else None for number in wanted
    ]
