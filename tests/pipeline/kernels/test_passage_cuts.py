"""Cutting passages out so that the rest stays readable: paragraphs, indentation, and never two words in one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.kernels.characters import classes
from pipeline.kernels.column import column_of, texts_of
from pipeline.kernels.passage_cuts import cut_passages
from pipeline.kernels.passages import split_passages
from pipeline.kernels.sentences import split_sentences
from pipeline.kernels.words import split_text, split_words
from tests.pipeline.kernels.test_passages import pieces, split

# Letters, figures, joints of words, brackets; Han, kana, Thai and Khmer with what grows onto them; marks and joiners.
alphabet = [*"aB73  .,'_()-", "\n", "\n\n", *"\u2019\u6c49\u5929\u3042\u30ab\u30fc\u3002\u300c\u3000"]
alphabet += [*"\u0e40\u0e01\u0e32\u17d2\u1780\u0301\u093f\u0915\u200d\U0001f600"]
mixed = st.lists(st.sampled_from(alphabet), max_size=25).map("".join)


def cut_units(document: str, starts: np.ndarray, ends: np.ndarray, removed: list[int]) -> str:
    column = column_of([document])
    marks = np.zeros(len(starts), bool)
    marks[removed] = True
    offsets = np.array([0, len(starts)])
    return str(texts_of(*cut_passages(column.data, column.offsets, starts, ends, offsets, marks, classes()))[0])


def cut(document: str, removed: list[int], paragraphs: bool = False) -> str:
    column = column_of([document])
    starts, ends, _ = split_passages(column.data, column.offsets, classes(), int(paragraphs))
    return cut_units(document, starts, ends, removed)


def cut_tokens(document: str, removed: list[int]) -> str:
    tokens = split_words(column_of([document]), "unicode")
    return cut_units(document, tokens.starts, tokens.ends, removed)


def cut_sentences(document: str, removed: list[int]) -> str:
    sentences = split_sentences(column_of([document]), "unicode")
    return cut_units(document, sentences.starts, sentences.ends, removed)


def words(tokens: list[str]) -> list[str]:
    return [token for token in tokens if token[0].isalnum()]


@pytest.mark.parametrize(
    ("document", "removed", "left"),
    [
        ("a\nb\nc", [1], "a\nc"),
        ("a\nb\nc", [0], "b\nc"),
        ("a\nb\nc", [2], "a\nb"),
        ("a\nb", [0, 1], ""),
        ("a\n\nb\nc", [1], "a\n\nc"),
        ("a\nb\n\nc", [1], "a\n\nc"),
        ("if a:\n    b\n    c\n", [1], "if a:\n    c"),
        ("a\n\n\nb\n    c\nd", [1], "a\n\n\n    c\nd"),
        ("a\rb\rc", [1], "a\rc"),
    ],
)
def test_what_is_left_keeps_its_paragraphs_and_indentation(document: str, removed: list[int], left: str) -> None:
    assert cut(document, removed) == left


@given(st.lists(pieces, max_size=30).map("".join), st.data())
def test_a_cut_leaves_the_other_passages_in_order(document: str, data: st.DataObject) -> None:
    for paragraphs in (False, True):
        (whole,) = split([document], paragraphs)
        removed = data.draw(st.sets(st.integers(0, len(whole) - 1) if whole else st.nothing()))
        left = cut(document, sorted(removed), paragraphs)
        assert split([left], paragraphs) == [[part for place, part in enumerate(whole) if place not in removed]]
        if not removed:
            assert left == document


@pytest.mark.parametrize(
    ("document", "removed", "left"),
    [
        ("one, two(three", [1, 2, 3], "one three"),
        ("one\u5929two", [1], "one two"),
        ("one \u5929\u6c49two", [1, 2], "one two"),
        ("\u5929one\u6c49", [1], "\u5929\u6c49"),
        ("\u5929\u6c49one\u6c49two", [2, 3], "\u5929\u6c49 two"),
        ("\u30abone\u30ab", [1], "\u30ab \u30ab"),
        ("dog \u5929's", [1], "dog 's"),
        ("in 3 \u5929.5", [2], "in 3 .5"),
        ("one two, three", [1], "one, three"),
        ("one,two-three", [2, 3], "one, three"),
        ("well-two-known", [2, 3], "well-known"),
        ("one \u5929(three)", [1], "one (three)"),
        ("\u5929\u3002two\u300c\u5929\u300d", [2], "\u5929\u3002\u300c\u5929\u300d"),
    ],
)
def test_words_do_not_grow_together(document: str, removed: list[int], left: str) -> None:
    assert cut_tokens(document, removed) == left


@pytest.mark.parametrize(
    ("document", "removed", "left"),
    [
        ("One is. Two is. Three is.", [1], "One is. Three is."),
        ("One is. A heading\n\nTwo is. Three is.", [1], "One is.\n\nThree is."),
        ("One is.\n\nTwo is. Three is.", [1], "One is.\n\nThree is."),
        ("One is. Two\nis. Three is.", [1], "One is. Three is."),
        ("\u5929\u3002\u6c49\u3002\u5929\u5929\u3002", [1], "\u5929\u3002\u5929\u5929\u3002"),
    ],
)
def test_a_paragraph_break_inside_of_the_cut_stays(document: str, removed: list[int], left: str) -> None:
    assert cut_sentences(document, removed) == left


@settings(max_examples=400)
@given(mixed, st.data())
@example("dog. a b", None)
def test_the_words_left_are_those_outside_the_cut(document: str, data: st.DataObject | None) -> None:
    whole = split_text(document, "unicode")
    drawn = st.sets(st.integers(0, len(whole) - 1) if whole else st.nothing())
    removed = data.draw(drawn) if data is not None else {2}
    left = cut_tokens(document, sorted(removed))
    kept = [token for place, token in enumerate(whole) if place not in removed]
    assert words(split_text(left, "unicode")) == words(kept)
    assert "".join(left.split()) == "".join(kept)


@settings(max_examples=200)
@given(mixed, st.data())
def test_sentences_cut_out_join_no_words(document: str, data: st.DataObject) -> None:
    column = column_of([document])
    sentences = split_sentences(column, "unicode")
    content = document.encode()
    parts = [content[begin:end].decode() for begin, end in zip(sentences.starts, sentences.ends, strict=True)]
    removed = data.draw(st.sets(st.integers(0, len(parts) - 1) if parts else st.nothing()))
    kept = [token for place, part in enumerate(parts) if place not in removed for token in split_text(part, "unicode")]
    assert words(split_text(cut_sentences(document, sorted(removed)), "unicode")) == words(kept)
