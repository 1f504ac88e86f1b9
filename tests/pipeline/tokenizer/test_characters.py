from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.kernels import compiled
from pipeline.kernels.pretokens import APART, CLASS_MASK, ENDS_ALONE, FOLD_MASK, LETTER, NUMBER, OTHER, SPACE
from pipeline.tokenizer import characters
from pipeline.tokenizer.characters import character_classes


def test_classes_are_those_of_unicode_where_nobody_disagrees() -> None:
    table = character_classes(False) & CLASS_MASK
    for character, expected in [("a", LETTER), ("中", LETTER), ("5", NUMBER), ("½", NUMBER), ("!", OTHER), ("́", OTHER)]:
        assert table[ord(character)] == expected
    assert [chr(code) for code in np.flatnonzero(table == SPACE)][:8] == list("\t\n\x0b\x0c\r \x85\xa0")
    apart = character_classes(True) & CLASS_MASK
    assert all(apart[ord(character)] == APART for character in "中々ぁカーｰﾅ𠀀")
    assert (apart[apart != APART] == table[apart != APART]).all()


def test_letters_of_contractions_are_found_in_any_case() -> None:
    folds = character_classes(False) & FOLD_MASK
    assert {chr(code) for code in np.flatnonzero(folds)} == set("strevmldSTREVMLDſ")
    assert folds[ord("ſ")] == folds[ord("S")] == ENDS_ALONE


def test_the_library_is_asked_once_and_a_damaged_answer_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = character_classes(False)
    questions = []

    def asked() -> np.ndarray:
        questions.append(1)
        return np.stack([table, character_classes(True)])

    monkeypatch.setattr(characters, "_asked", asked)
    monkeypatch.setattr(characters, "cache_folder", lambda: tmp_path)
    for expected in (1, 1):
        assert (character_classes.__wrapped__(False) == table).all()
        assert len(questions) == expected
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    assert (character_classes.__wrapped__(False) == table).all()
    assert len(questions) == 2


def test_the_answer_lies_beside_the_compiled_kernels() -> None:
    character_classes(False)
    assert list(compiled.cache_folder().glob("characters-*"))
