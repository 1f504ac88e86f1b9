"""Words: spaCy's for English, every character in exactly one token for any language."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import english_rules
from pipeline.kernels.column import column_of
from pipeline.kernels.words import Splitter, count_sentences, split_text, split_words, warm_up
from tests.pipeline.filters.judging import real_texts
from tests.pipeline.kernels import unicode_reference

REFERENCE = json.loads(Path(__file__).with_name("english_words.json").read_text())
"""[text, words, sentences] as datatrove 0.10.1 with spaCy 3.8.18 gives them."""
SPLITTERS: tuple[Splitter, ...] = ("english", "unicode")
PIECES = st.sampled_from(
    [
        *english_rules.exceptions(),
        *english_rules.units(),
        *".,;:!?'\"()-–—~=+*/…_%$#@°’“。、0123456789aBsSéЖ中ไ한",
        " ",
        "\n",
    ]
)
TEXTS = st.text() | st.lists(PIECES, max_size=20).map("".join)
UNSPACED = st.text(
    alphabet="ab1٣ ,.'’_-#\n\u0301\u0939\u093f\u200d中国々〇ぁらーｰカナﾅﾞ한เแกขาะำ็่ๅๆເາກខ្កាမြ\u1039\u103a๑၁𛀁ﬁ"
)


def words_of(texts: list[str], splitter: Splitter) -> list[list[str]]:
    column = column_of(texts)
    tokens = split_words(column, splitter)
    content = column.data.tobytes()
    words = [content[start:end].decode() for start, end in zip(tokens.starts, tokens.ends, strict=True)]
    return [words[first:last] for first, last in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]


def test_english_words_are_those_of_the_reference() -> None:
    found = words_of([text for text, _, _ in REFERENCE], "english")
    for (text, words, _), own in zip(REFERENCE, found, strict=True):
        kept = [word for word in own if "IS_ALPHA" not in word or word in words]
        assert kept == words, text


def test_sentences_are_those_of_the_reference() -> None:
    column = column_of([text for text, _, _ in REFERENCE])
    counts = count_sentences(column, split_words(column, "english"))
    assert counts.tolist() == [sentences for _, _, sentences in REFERENCE]


@pytest.mark.skipif(importlib.util.find_spec("spacy") is None, reason="spaCy is not installed")
def test_english_words_are_those_of_spacy_itself() -> None:
    import spacy

    tokenizer = spacy.blank("en").tokenizer
    drawn = random.Random(1)
    pieces = [
        *english_rules.exceptions(),
        *english_rules.units(),
        *".,;:!?'\"()-–—~=+*/…_%$#@°’“。、  \n 0123456789aBséЖ中",
    ]
    texts = ["".join(drawn.choices(pieces, k=drawn.randrange(1, 20))) for _ in range(20_000)]
    for text, own in zip(texts, words_of(texts, "english"), strict=True):
        assert own == [token.text for token in tokenizer(text) if not token.text.isspace()]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \t\n\u2028", []),
        ("The cat sat.", ["The", "cat", "sat", "."]),
        ("don't it’s", ["don't", "it’s"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("snake_case __init__ a__b_", ["snake_case", "__", "init", "__", "a__b", "_"]),
        ("well-known", ["well", "-", "known"]),
        ("1,000.50 a,b 1,a", ["1,000.50", "a", ",", "b", "1", ",", "a"]),
        ("numpy.linalg.", ["numpy.linalg", "."]),
        ('He said: "no"...', ["He", "said", ":", '"', "no", '"...']),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("caf\u0065\u0301 ok", ["caf\u0065\u0301", "ok"]),
        ("今天天气。a中b", ["今", "天", "天", "气", "。", "a", "中", "b"]),
        ("らーめんとラーメン", ["らー", "め", "ん", "と", "ラーメン"]),
        ("日本の東京タワーでTシャツ", ["日", "本", "の", "東", "京", "タワー", "で", "T", "シャツ"]),
        ("한국어 단어", ["한국어", "단어"]),
        ("เป็นภาษาไทย", ["เป็", "น", "ภา", "ษา", "ไท", "ย"]),
        ("ພາສາລາວ", ["ພາ", "ສາ", "ລາ", "ວ"]),
        ("ភាសាខ្មែរ", ["ភា", "សា", "ខ្មែ", "រ"]),
        ("မြန်မာစာ", ["မြ", "န်", "မာ", "စာ"]),
        ("a\x00b", ["a", "\x00", "b"]),
    ],
)
def test_words_of_any_language_are_what_a_reader_calls_words(text: str, tokens: list[str]) -> None:
    assert split_text(text, "unicode") == tokens


@settings(max_examples=200)
@given(st.lists(TEXTS | UNSPACED, max_size=4))
def test_words_of_any_language_are_those_of_the_slow_reference(texts: list[str]) -> None:
    assert words_of(texts, "unicode") == [unicode_reference.split(text) for text in texts]


def test_thousands_of_drawn_documents_agree_with_the_slow_reference() -> None:
    drawn = random.Random(5)
    alphabet = "ab1٣ ,.'’_-#\n\u0301\u0939\u093f\u200d中々〇ぁらーｰカナﾅﾞ한เแกขาะำ็ๅๆເາກខ្កាမြ\u1039\u103a๑၁𛀁ﬁ"
    codes = [*map(ord, alphabet * 200), *range(0x3400), *range(0xA000, 0xD800, 7), *range(0xE000, 0x110000, 97)]
    texts = ["".join(map(chr, drawn.choices(codes, k=drawn.randrange(30)))) for _ in range(5000)]
    assert words_of(texts, "unicode") == [unicode_reference.split(text) for text in texts]


def test_real_documents_agree_with_the_slow_reference() -> None:
    texts = list(real_texts(800))
    assert words_of(texts, "unicode") == [unicode_reference.split(text) for text in texts]


@pytest.mark.parametrize("splitter", SPLITTERS)
@settings(max_examples=150)
@given(texts=st.lists(TEXTS, max_size=4))
def test_no_character_but_white_space_is_lost_and_none_is_in_a_token(splitter: Splitter, texts: list[str]) -> None:
    texts = [text.replace("IS_ALPHA", "") for text in texts]
    for text, words in zip(texts, words_of(texts, splitter), strict=True):
        assert "".join(words) == "".join(text.split())
        assert all(words)


@pytest.mark.parametrize("splitter", SPLITTERS)
@settings(max_examples=100)
@given(texts=st.lists(TEXTS, max_size=6), cut=st.integers(0, 6))
def test_a_document_has_the_same_words_in_any_batch(splitter: Splitter, texts: list[str], cut: int) -> None:
    whole = words_of(texts, splitter)
    assert whole == words_of(texts[:cut], splitter) + words_of(texts[cut:], splitter)
    column = column_of(["x", *texts])
    later = type(column)(column.data, column.offsets[1:])  # offsets that do not begin at 0
    assert np.array_equal(split_words(later, splitter).ends, split_words(column_of(texts), splitter).ends + 1)


@pytest.fixture(scope="module")
def compiled() -> None:
    warm_up()


UNITS = "a _ a_ a. 1, a\u0301 ' a' ( :) .... -a a@ a.b- °C. 1. 中 เ \x00 he's- (':)-a.b@°C.x_…5km"


@pytest.mark.parametrize("splitter", SPLITTERS)
@pytest.mark.parametrize(("unit", "size"), [*((unit, 2) for unit in UNITS.split()), (UNITS.split()[-1], 10)])
@pytest.mark.usefixtures("compiled")
@pytest.mark.timeout(60, func_only=True)
def test_megabytes_without_a_space_are_no_trap(splitter: Splitter, unit: str, size: int) -> None:
    column = column_of([unit * (size * 1_000_000 // len(unit.encode()))])
    tokens = split_words(column, splitter)
    assert (tokens.ends - tokens.starts).sum() == len(column.data)
    assert count_sentences(column, tokens)[0] >= 1


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_bytes_that_are_no_text_end(splitter: Splitter) -> None:
    content = np.frombuffer(random.Random(2).randbytes(100_000), np.uint8)
    column = type(column_of([]))(content, np.array([0, 3, len(content)], np.int64))
    column.offsets.flags.writeable = False
    tokens = split_words(column, splitter)
    assert (tokens.starts < tokens.ends).all()
    assert tokens.ends[-1] <= len(content)
