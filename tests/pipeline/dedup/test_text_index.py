"""Texts of an earlier corpus are known by its index alone; an index that cannot be trusted is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.dedup.text_index import MANIFEST, KnownTexts, TextIndex
from pipeline.errors import SettingError
from pipeline.stage import Task
from tests.pipeline.dedup.corpora import apply_to, write_corpus
from tests.pipeline.runner import SerialRunner

OLD = [["a b", "c"], [], ["d", "c"]]
NEW = [["new", "A B"], ["c ", "a\n b", "newer"]]


def index(folder: Path, name: str = "index", runner: SerialRunner | None = None, **settings: Any) -> str:
    corpus = write_corpus(folder / f"old-{name}", OLD)
    stage = TextIndex(path=str(folder / name), **settings)
    applied = stage.survey(corpus, str(folder / "unused"), runner or SerialRunner())
    assert apply_to(corpus, applied) == {}
    shutil.rmtree(folder / f"old-{name}")
    return str(folder / name)


def test_known_texts_are_dropped_without_the_old_corpus_and_the_old_document_is_named(tmp_path: Path) -> None:
    against = index(tmp_path)
    new = write_corpus(tmp_path / "new", NEW)
    dropped = apply_to(new, KnownTexts(against=(against,)))
    assert {identity: reason[3] for identity, reason in dropped.items()} == {"1-0": "0-1", "1-1": "0-0"}
    assert {reason[:3] for reason in dropped.values()} == {("known_text", "1", "1")}


def test_settings_of_the_comparison_must_be_those_of_the_index(tmp_path: Path) -> None:
    against = index(tmp_path, ignore_case=True)
    new = write_corpus(tmp_path / "new", NEW)
    assert list(apply_to(new, KnownTexts(against=(against,), ignore_case=True))) == ["0-1", "1-0", "1-1"]
    with pytest.raises(SettingError, match="ignore_case"):
        apply_to(new, KnownTexts(against=(against,)))


def test_a_missing_or_cut_file_is_refused_and_named(tmp_path: Path) -> None:
    new = write_corpus(tmp_path / "new", NEW)
    with pytest.raises(SettingError, match="no index"):
        apply_to(new, KnownTexts(against=(str(tmp_path / "none"),)))
    missing, cut = Path(index(tmp_path, "missing")), Path(index(tmp_path, "cut"))
    (missing / "shard-00002.arrow").unlink()
    (cut / "shard-00000.arrow").write_bytes((cut / "shard-00000.arrow").read_bytes()[:-20])
    for folder, name in ((missing, "shard-00002.arrow"), (cut, "shard-00000.arrow")):
        with pytest.raises(SettingError, match=f"{name} is missing or damaged: remove it, if it is there, and run"):
            apply_to(new, KnownTexts(against=(str(folder),)))
        (folder / name).unlink(missing_ok=True)
        assert len(apply_to(new, KnownTexts(against=(index(tmp_path, folder.name),)))) == 2


def test_an_index_of_another_format_is_refused(tmp_path: Path) -> None:
    manifest = Path(index(tmp_path), MANIFEST)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(SettingError, match="format 99"):
        apply_to(write_corpus(tmp_path / "new", NEW), KnownTexts(against=(str(manifest.parent),)))


def test_the_order_of_tasks_changes_nothing(tmp_path: Path) -> None:
    def backwards(tasks: list[Task]) -> list[Task]:
        return tasks[::-1]

    first, second = index(tmp_path, "first"), index(tmp_path, "second", SerialRunner(backwards))
    names = [MANIFEST, "shard-00000.arrow", "shard-00001.arrow", "shard-00002.arrow"]
    for name in names:
        assert Path(first, name).read_bytes() == Path(second, name).read_bytes()


def test_the_index_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    first = KnownTexts(against=(index(tmp_path, "first"),)).files()
    assert first == [str(tmp_path / "first" / MANIFEST)]
