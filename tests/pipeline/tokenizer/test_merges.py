"""Merges from counts are those that the library learns from the same text, and so is the whole tokenizer."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from pipeline.errors import UserError
from pipeline.kernels import merge_queue
from pipeline.kernels.column import column_of
from pipeline.tokenizer.counts import Counts, frozen
from pipeline.tokenizer.load import BYTE_TOKENS
from pipeline.tokenizer.merges import tokenizer_of, train_merges
from pipeline.tokenizer.pieces import pieces_of, pre_tokenizer_of
from pipeline.tokenizer.settings import Alphabet, PreTokenization
from tests.pipeline.filters.judging import real_texts

GPT2, GPT4 = PreTokenization(kind="gpt2"), PreTokenization(kind="gpt4", cjk="characters")
SPECIAL = ("<|endoftext|>", "<|pad|>")
CHINESE = "我们在北京的公园里看见很多人，他们在公园里跑步。北京的公园很多，人也很多。" * 20
CODE = "def number_of(items):\n    for item in items:\n        if item.number >= 10:\n            return 1234567\n" * 9


def counted(words: Mapping[bytes, int]) -> Counts:
    """A table of counts, in the order given."""
    return Counts(
        frozen(np.frombuffer(b"".join(words), np.uint8)),
        frozen(np.cumsum([0, *map(len, words)], dtype=np.int64)),
        frozen(np.array(list(words.values()), np.int64)),
    )


def pieces_counted(texts: Sequence[str], pre_tokenization: PreTokenization) -> Counts:
    """Counts of the pieces of texts."""
    column = column_of(list(texts))
    pieces = pieces_of(column, pre_tokenization)
    starts = np.concatenate([column.offsets[:1], pieces.ends[:-1]])
    content = column.data.tobytes()
    return counted(Counter(content[start:end] for start, end in zip(starts, pieces.ends, strict=True)))


def trained_by_the_library(
    texts: Sequence[str],
    pre_tokenizer: pre_tokenizers.PreTokenizer,
    special: Sequence[str],
    alphabet: Alphabet = "bytes",
    **settings: Any,
) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=alphabet == "characters"))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    named = [AddedToken(name, special=True, normalized=False) for name in special]
    trainer = trainers.BpeTrainer(
        special_tokens=named if alphabet == "bytes" else [*named, *BYTE_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet == "bytes" else [],
        show_progress=False,
        **{name: value for name, value in settings.items() if value is not None},
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def assert_equal_from_words(
    words: Mapping[bytes, int], special: Sequence[str] = SPECIAL, alphabet: Alphabet = "bytes", **settings: Any
) -> None:
    """Train both on words that are pieces already."""
    steps: list[pre_tokenizers.PreTokenizer] = [pre_tokenizers.Split("\n", "removed")]
    if alphabet == "bytes":
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    texts = ["\n".join([word.decode()] * count) for word, count in words.items()]
    limit = {"limit_alphabet": settings["alphabet_limit"]} if "alphabet_limit" in settings else {}
    shared = {name: value for name, value in settings.items() if name != "alphabet_limit"}
    library = trained_by_the_library(texts, pre_tokenizers.Sequence(steps), special, alphabet, **shared, **limit)
    theirs = json.loads(library.to_str())["model"]
    ours = train_merges(counted(words), special_tokens=special, alphabet=alphabet, **settings)
    names = ours.vocabulary
    assert names == sorted(theirs["vocab"], key=theirs["vocab"].get)
    pairs = [[names[left], names[right]] for left, right in zip(ours.left, ours.right, strict=True)]
    assert pairs == theirs["merges"]
    assert [names[token] for token in ours.result] == ["".join(pair) for pair in pairs]


@pytest.mark.parametrize("pre_tokenization", [GPT2, GPT4], ids=["gpt2", "gpt4 with CJK"])
@pytest.mark.parametrize("name", ["documentation", "chinese", "code", "hostile"])
def test_the_whole_tokenizer_is_the_one_of_the_library(name: str, pre_tokenization: PreTokenization) -> None:
    texts = {
        "documentation": real_texts(150),
        "chinese": [CHINESE, CHINESE[7:400]],
        "code": [CODE],
        "hostile": ["a <|endoftext|> b <|endoftext|>", "\0\x1b\ufeff😀🏽e\u0301", "x" * 999, "", " \t\r\n " * 50],
    }[name]
    pre_tokenizer = pre_tokenizer_of(pre_tokenization)
    for vocab_size, min_frequency in ((300, 2), (2000, 2), (2000, 5)):
        theirs = trained_by_the_library(
            texts, pre_tokenizer, SPECIAL, vocab_size=vocab_size, min_frequency=min_frequency
        )
        merges = train_merges(pieces_counted(texts, pre_tokenization), vocab_size, min_frequency, SPECIAL)
        assert tokenizer_of(merges, pre_tokenizer).to_str(pretty=True) == theirs.to_str(pretty=True)


@settings(max_examples=150)
@given(
    st.sampled_from(["ab", "aabc", "aé中", "\0 \U0001f600"]).flatmap(
        lambda letters: st.dictionaries(
            st.text(letters, min_size=1, max_size=14).map(str.encode), st.integers(1, 4), min_size=1, max_size=40
        )
    ),
    st.sampled_from([(), SPECIAL, ("ab", "a"), ("aba", "<|x|>", "ba", "é")]),
    st.sampled_from(["bytes", "characters"]),
    st.integers(1, 5),
    st.sampled_from([None, 2, 3, 4, 7]),
    st.sampled_from([256, 270, 300, 900]),
)
def test_ties_special_tokens_in_texts_and_limits_are_as_in_the_library(
    words: dict[bytes, int],
    special: tuple[str, ...],
    alphabet: Alphabet,
    min_frequency: int,
    max_token_length: int | None,
    vocab_size: int,
) -> None:
    assert_equal_from_words(
        words,
        special,
        alphabet,
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        max_token_length=max_token_length,
    )


@pytest.mark.parametrize("min_frequency", range(1, 6))
def test_random_words_with_many_ties(min_frequency: int) -> None:
    drawn = random.Random(min_frequency)
    words = Counter(bytes(drawn.choices(b"abcdef", k=drawn.randint(1, 9))) for _ in range(3000))
    assert_equal_from_words(words, vocab_size=1500, min_frequency=min_frequency)


@pytest.mark.parametrize(
    "words",
    [{}, {b"a": 9, b"b": 3, b"a\0": 1}, {b"abcabcab": 5}, {b"a" * 1000: 1, b"a" * 77: 3}, {b"ab" * 500: 2}],
    ids=["no text", "single bytes", "one word", "runs of one letter", "runs of two letters"],
)
def test_corpora_at_the_edges(words: dict[bytes, int]) -> None:
    for min_frequency in (1, 2):
        assert_equal_from_words(words, vocab_size=1000, min_frequency=min_frequency)


def test_a_vocabulary_smaller_than_its_alphabet_has_no_merges() -> None:
    assert_equal_from_words({b"abab": 9}, vocab_size=100, min_frequency=1)


def test_the_order_of_the_counts_does_not_matter() -> None:
    words = list(Counter(word.encode() for text in real_texts(60) for word in text.split()).items())
    first = train_merges(counted(dict(words)), 3000, 2, SPECIAL)
    for seed in range(3):
        random.Random(seed).shuffle(words)
        again = train_merges(counted(dict(words)), 3000, 2, SPECIAL)
        assert again.vocabulary == first.vocabulary
        assert np.array_equal(again.left, first.left)
        assert np.array_equal(again.right, first.right)


def test_a_text_becomes_a_token_in_one_way_only() -> None:
    drawn = random.Random(5)
    words = Counter(bytes(drawn.choices(b"ab", k=drawn.randint(2, 30))) for _ in range(2000))
    merges = train_merges(counted(words), 5000, 1, ())
    assert len(merges.result) > 1000
    assert len(set(merges.result.tolist())) == len(merges.result)
    assert len(set(merges.vocabulary)) == len(merges.vocabulary)


def test_counts_beyond_32_bits_count() -> None:
    words = {b"ab": 1 << 40, b"cd": (1 << 40) + 1, b"ef": 5}
    merges = train_merges(counted(words), 258, 2, ())
    assert merges.vocabulary[256:] == ["cd", "ab"]


def test_pieces_that_do_not_occur_teach_nothing() -> None:
    assert len(train_merges(counted({b"abc": 0, b"x": 3}), 400, 1, ()).left) == 0


def test_a_piece_of_a_million_bytes_takes_no_more_than_its_bytes() -> None:
    drawn = random.Random(1)
    started = time.process_time()
    merges = train_merges(counted({bytes(drawn.choices(b"abcd", k=1 << 20)): 1, b"=" * (1 << 20): 1}), 2000, 2, ())
    assert time.process_time() - started < 15
    doubled = [len(name) for name in merges.vocabulary[256:] if set(name) == {"="}]
    assert doubled == [1 << power for power in range(1, len(doubled) + 1)]
    assert len(doubled) > 10


CUT = pre_tokenizers.Split(Regex(r" ?\p{L}+|\s+|\S+"), "isolated")


def with_characters(text: str, limit: int | None) -> Tokenizer:
    words = Counter(piece.encode() for piece, _ in CUT.pre_tokenize_str(text))
    return tokenizer_of(train_merges(counted(words), 700, 2, SPECIAL, "characters", alphabet_limit=limit), CUT)


def test_characters_outside_the_alphabet_are_spelled_in_bytes_and_come_back() -> None:
    tokenizer = with_characters(CHINESE + CODE, 60)
    assert [tokenizer.id_to_token(index) for index in (0, 1, 2, 257)] == [*SPECIAL, "<0x00>", "<0xFF>"]
    assert any(len(token) > 1 and token < "\u9fff" and token > "\u4e00" for token in tokenizer.get_vocab())
    text = f"number {CHINESE[:30]} 龘 😀\0 <0x41>"
    encoded = tokenizer.encode(text)
    assert "<0xF0>" in encoded.tokens
    assert tokenizer.decode(encoded.ids) == text
    assert Tokenizer.from_str(tokenizer.to_str()).encode(text).ids == encoded.ids


def test_the_most_frequent_characters_are_the_alphabet() -> None:
    words = {b"aaab": 9, "中".encode(): 7, "国b".encode(): 8, b"zy": 1}
    for limit in (1, 2, 3, 4, 9):
        assert_equal_from_words(words, (), "characters", vocab_size=300, min_frequency=2, alphabet_limit=limit)
    tied = train_merges(counted(words), 257, 2, (), "characters", alphabet_limit=5)
    assert tied.vocabulary[256:] == ["a", "b", "y", "中", "国"]


def test_a_special_token_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="'<|a|>' is given twice".replace("|", r"\|")):
        train_merges(counted({b"ab": 2}), 300, 2, ("<|a|>", "<|b|>", "<|a|>"))


@given(st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(0, 50)), max_size=200, unique=True))
def test_the_queue_gives_batches_by_count_and_then_by_pair(wanted: list[tuple[int, int]]) -> None:
    batches = np.zeros((len(wanted) + 1, 4), np.int64)
    chains, heap, size, level = np.full(merge_queue.LEVELS, -1, np.int64), np.zeros(1, np.int64), 0, merge_queue.LEVELS
    taken: list[tuple[int, int]] = []
    for number, (count, pair) in enumerate(wanted):
        batches[number, :2] = count, pair
        heap, size = merge_queue.add(batches, chains, heap, size, level, number)
    while True:
        if size == 0:
            heap, size, level = merge_queue.refill(batches, chains, heap, level)
            if size == 0:
                break
        count, pair = batches[heap[0], :2].tolist()
        taken.append((count, pair))
        size -= 1
        heap[0] = heap[size]
        merge_queue.sink(batches, heap, size, 0)
    assert taken == sorted(wanted, key=lambda batch: (-batch[0], batch[1]))
