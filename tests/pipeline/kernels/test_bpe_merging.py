"""Merging against the `tokenizers` library itself, for merges that training gives and for those that it never would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.models import BPE

from pipeline.kernels.bpe_merging import ABSENT, SHORTEST_QUEUED, fill_pairs, merge_long, merge_short

ALPHABET = "abc"
INITIAL = np.array([ALPHABET.index(chr(byte)) if chr(byte) in ALPHABET else 0 for byte in range(256)], np.uint32)
INITIAL.flags.writeable = False
BYTES = np.empty(0, np.uint32)
BYTES.flags.writeable = False


@st.composite
def merge_lists(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Merges of tokens that earlier merges made, in any order: a token may be used before it is made, or made twice."""
    tokens = list(ALPHABET)
    merges = []
    for _ in range(draw(st.integers(0, 12))):
        left, right = draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens))
        merges.append((left, right))
        tokens.append(left + right)
    return draw(st.permutations(merges))


class Merging:
    """Both ways of merging, and the library's, for one list of merges."""

    def __init__(self, merges: list[tuple[str, str]]) -> None:
        texts = dict.fromkeys([*ALPHABET, *(left + right for left, right in merges)])
        self.ids = {text: index for index, text in enumerate(texts)}
        self.library = BPE(self.ids, merges)
        numbers = [(self.ids[left], self.ids[right], self.ids[left + right]) for left, right in merges]
        left, right, results = (np.array([row[at] for row in numbers], np.int32) for at in range(3))
        self.pairs, self.shift = np.full(2 << 6, ABSENT, np.uint64), np.uint64(64 - 6)
        fill_pairs(left, right, results, self.pairs, self.shift)
        self.pairs.flags.writeable = False

    def short(self, text: str) -> list[int]:
        data, (tokens, merges) = self._data(text), (np.empty(SHORTEST_QUEUED, kind) for kind in (np.uint32, np.uint64))
        count = merge_short(data, 0, len(data), INITIAL, BYTES, self.pairs, self.shift, tokens, merges)
        return list(tokens[:count].tolist())

    def long(self, text: str) -> list[int]:
        data = self._data(text)
        tokens = merge_long(data, 0, len(data), INITIAL, BYTES, self.pairs, self.shift)
        return list(tokens[tokens >= 0].tolist())

    def expected(self, text: str) -> list[int]:
        return [token.id for token in self.library.tokenize(text)]

    @staticmethod
    def _data(text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8)


@given(merge_lists(), st.text(ALPHABET, min_size=1, max_size=SHORTEST_QUEUED))
def test_any_merges_give_the_library_s_tokens(merges: list[tuple[str, str]], text: str) -> None:
    merging = Merging(merges)
    assert merging.short(text) == merging.long(text) == merging.expected(text)


def test_of_equal_pairs_the_leftmost_is_merged_first() -> None:
    merging = Merging([("a", "a")])
    assert merging.short("aaaaa") == merging.long("aaaaa") == [merging.ids["aa"], merging.ids["aa"], merging.ids["a"]]


def test_a_merge_that_is_there_twice_has_its_last_rank() -> None:
    merges = [("a", "b"), ("b", "c"), ("a", "b")]
    assert Merging(merges).short("abc") == Merging(merges).long("abc") == Merging(merges).expected("abc")


def test_a_token_that_is_made_late_and_used_early_is_merged_at_once() -> None:
    merges = [("ab", "c"), ("c", "a"), ("a", "b")]
    for text in ("abcabc", "cabcab", "abcab" * 9):
        assert Merging(merges).short(text) == Merging(merges).long(text) == Merging(merges).expected(text)


def test_a_long_piece_has_the_library_s_tokens_and_takes_no_square_of_its_length() -> None:
    import time

    random = np.random.default_rng(1)
    tokens, merges = list(ALPHABET), []
    for _ in range(30):
        left, right = random.choice(tokens, 2).tolist()
        merges.append((left, right))
        tokens.append(left + right)
    merging = Merging(merges)
    texts = ["".join(random.choice(list(ALPHABET), length).tolist()) for length in (20_000, 640_000)]
    merging.long(texts[0][:1000])
    seconds = []
    for text in texts:
        started = time.process_time()
        found = merging.long(text)
        seconds.append(time.process_time() - started)
        assert found == merging.expected(text)
    assert seconds[1] / seconds[0] < 32 * 8


@pytest.mark.parametrize("text", ["a", "ab", "c" * SHORTEST_QUEUED])
def test_without_merges_each_byte_is_its_token(text: str) -> None:
    merging = Merging([])
    assert merging.short(text) == merging.long(text) == [ALPHABET.index(character) for character in text]
