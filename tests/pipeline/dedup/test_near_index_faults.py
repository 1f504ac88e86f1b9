"""An index that cannot be trusted is refused by name; one whose writing was stopped is not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.corpus import build_corpus
from pipeline.dedup import near_index
from pipeline.dedup.minhash import MinhashDedup
from pipeline.dedup.near_index import MANIFEST
from pipeline.dedup.text_index import KnownTexts, TextIndex
from pipeline.engine import Engine
from pipeline.errors import SettingError, ShardsFailed
from pipeline.explain import explain
from pipeline.sources.jsonl import JsonLines
from pipeline.stage import Task
from tests.pipeline.dedup.corpora import apply_to, output_of, write_corpus
from tests.pipeline.dedup.test_near_index import documents, months, removed, search, words, write_index
from tests.pipeline.runner import SerialRunner

OLD, NEW = months(4, 24)


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("damage", [Path.unlink, cut, changed])
@pytest.mark.parametrize("name", ["near/bands/shard-00002.arrow", "near/entries/shard-00000.arrow"])
def test_a_file_that_is_missing_cut_or_changed_is_named(tmp_path: Path, name: str, damage: Any) -> None:
    index = write_index(tmp_path, "june", OLD)
    search(tmp_path, NEW, against=(index,))
    damage(Path(index, name))
    # Also when the comparison was finished before.
    with pytest.raises(ShardsFailed, match=f"{name} is missing or is not what was written: remove it, if it is there"):
        search(tmp_path, NEW, against=(index,))
    # What the message says to do helps; without removing the file its record would vouch for it.
    Path(index, name).unlink(missing_ok=True)
    write_index(tmp_path, "june", OLD)
    search(tmp_path, NEW, against=(index,))


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({"bands": 7, "rows": 16}, "bands 14, here 7; rows 8, here 16"),
        ({"threshold": 0.5}, "bands 14, here "),
        ({"shingle_words": 3}, "shingle_words 5, here 3"),
        ({"seed": 2}, "seed 1, here 2"),
        ({"scheme": "affine64"}, "scheme affine32, here affine64"),
    ],
)
def test_an_index_of_other_settings_is_refused_with_what_differs(
    tmp_path: Path, settings: dict[str, Any], differs: str
) -> None:
    index = write_index(tmp_path, "june", OLD[:1])
    with pytest.raises(SettingError, match=rf"june/near_index.json was written with other settings \({differs}"):
        search(tmp_path, NEW, against=(index,), **settings)
    with pytest.raises(SettingError, match="other settings"):
        MinhashDedup(against=(index,), **settings).plan_lines(10**6)


def test_no_index_and_one_of_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no index .*/none/near_index.json"):
        search(tmp_path, NEW, against=(str(tmp_path / "none"),))
    manifest = Path(write_index(tmp_path, "june", OLD), MANIFEST)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(SettingError, match="format 99"):
        search(tmp_path, NEW, against=(str(manifest.parent),))


def test_an_index_whose_hashes_are_of_other_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = write_index(tmp_path, "june", OLD)
    monkeypatch.setattr(near_index, "_PROBES", ("as if words were split in another way",))
    with pytest.raises(ShardsFailed, match="june was written by a version with other hashes; write the index again"):
        search(tmp_path, NEW, against=(index,))


class Stopped(SerialRunner):
    """Dies after so many tasks of the phase that is named."""

    def __init__(self, phase: str, tasks: int) -> None:
        super().__init__()
        self._phase, self._tasks = phase, tasks

    def map(self, directory: str, label: str, tasks: Any) -> list[dict[str, Any]]:
        if not label.endswith(self._phase):
            return super().map(directory, label, tasks)
        super().map(directory, label, tasks[: self._tasks])
        raise KeyboardInterrupt


@pytest.mark.parametrize("phase", ["checked", "matches", "carried", "known", "removals", "index"])
def test_stopped_in_any_phase_and_continued_the_bytes_are_the_same(tmp_path: Path, phase: str) -> None:
    june = write_index(tmp_path, "june", OLD)

    def run(name: str, runner: SerialRunner) -> None:
        settings: dict[str, Any] = {
            "against": (june,),
            "write_index": str(tmp_path / name / "july"),
            "partition_keys": 400,
        }
        search(tmp_path / name, NEW, runner, **settings)

    run("whole", SerialRunner())
    with pytest.raises(KeyboardInterrupt):
        run("parts", Stopped(phase, 1))
    assert not (tmp_path / "parts" / "july" / MANIFEST).exists()
    run("parts", SerialRunner())
    assert output_of(tmp_path / "whole") == output_of(tmp_path / "parts")
    assert (tmp_path / "whole/july" / MANIFEST).read_bytes() == (tmp_path / "parts/july" / MANIFEST).read_bytes()


def test_a_second_run_does_nothing_and_a_lost_file_of_the_index_is_made_again(tmp_path: Path) -> None:
    june = write_index(tmp_path, "june", OLD)
    settings: dict[str, Any] = {"against": (june,), "write_index": str(tmp_path / "july")}
    search(tmp_path, NEW, **settings)
    before = output_of(tmp_path), (tmp_path / "july" / MANIFEST).stat().st_mtime_ns
    idle = SerialRunner()
    search(tmp_path, NEW, idle, **settings)
    assert idle.executed == []
    assert (tmp_path / "july" / MANIFEST).stat().st_mtime_ns == before[1]
    (tmp_path / "july/near/entries/shard-00001.arrow").unlink()
    mending = SerialRunner()
    search(tmp_path, NEW, mending, **settings)
    assert mending.executed == ["shard-00001"]
    assert output_of(tmp_path) == before[0]


def test_an_index_that_is_replaced_keeps_nothing_of_the_old_one(tmp_path: Path) -> None:
    write_index(tmp_path, "july", OLD)
    shutil.rmtree(tmp_path / "survey-july")
    write_index(tmp_path, "july", NEW[:1])
    write_index(tmp_path, "other", NEW[:1])
    assert output_of(tmp_path / "july") == output_of(tmp_path / "other")
    assert len(list((tmp_path / "july").rglob("*.json"))) == 2


def test_an_index_of_equal_texts_may_lie_in_the_same_folder(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", OLD)
    runner = SerialRunner()
    for _ in range(2):
        executed = len(runner.executed)
        for stage in (TextIndex(path=str(tmp_path / "june")), MinhashDedup(write_index=str(tmp_path / "june"))):
            stage.survey(corpus, str(tmp_path / stage.name), runner)
    assert len(runner.executed) == executed
    known = apply_to(corpus, KnownTexts(against=(str(tmp_path / "june"),)))
    near = removed(tmp_path / "near", OLD, against=(str(tmp_path / "june"),))
    assert set(known) == set(near) == {document["id"] for shard in OLD for document in shard}


def test_while_an_index_is_replaced_it_is_not_there(tmp_path: Path) -> None:
    write_index(tmp_path, "july", OLD)
    seen = []

    def looking(tasks: list[Task]) -> list[Task]:
        if tasks and tasks[0].function is near_index.write_index_shard:
            seen.append((tmp_path / "july" / MANIFEST).exists())
        return tasks

    search(tmp_path, NEW, SerialRunner(looking), write_index=str(tmp_path / "july"))
    assert seen == [False]
    assert (tmp_path / "july" / MANIFEST).exists()


def test_corpora_without_a_known_or_with_only_known_documents(tmp_path: Path) -> None:
    text = " ".join(words(50))
    index = write_index(tmp_path, "june", [[], documents("old", [text])])
    assert removed(tmp_path / "a", [documents("new", ["others alone"]), []], against=(index,)) == {}
    found = removed(tmp_path / "b", [documents("new", [text]), documents("more", [text])], against=(index,))
    assert set(found) == {"new0", "more0"}
    empty = write_index(tmp_path, "empty", [documents("old", [text])], against=(index,))
    assert json.loads(Path(empty, MANIFEST).read_text())["documents"] == 0
    assert removed(tmp_path / "c", [documents("new", [text])], against=(empty,)) == {}


def test_a_run_counts_what_is_known_and_explains_it(tmp_path: Path) -> None:
    text = " ".join(words(51))
    for month, lines in (("june", [text, "a"]), ("july", [text, "b", text + " more", "b"])):
        rows = [{"id": f"{month}{row}", "text": line} for row, line in enumerate(lines)]
        (tmp_path / f"{month}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    june = MinhashDedup(write_index=str(tmp_path / "index"))
    july = MinhashDedup(against=(str(tmp_path / "index"),))
    for month, stage in (("june", june), ("july", july)):
        source = JsonLines(path=str(tmp_path / f"{month}.jsonl"))
        manifest = build_corpus([source], [stage], str(tmp_path / month), SerialRunner(), 0.0)
    assert manifest["funnel"][-1]["dropped"] == {"near_duplicate": 1, "near_duplicate_known": 2}
    *_, last = explain(str(tmp_path / "july"), "july2")
    assert (last.outcome, last.rule, last.kept_id) == ("dropped", "near_duplicate_known", "june0")
    assert last.similarity is not None
    assert last.similarity > 0.8


def test_another_index_or_none_makes_another_result_in_the_same_place(tmp_path: Path) -> None:
    june, other = write_index(tmp_path, "june", OLD), write_index(tmp_path, "other", months(5, 24)[0])
    alone = removed(tmp_path / "fresh", NEW)
    assert len(removed(tmp_path, NEW, against=(june,))) > len(alone)
    assert removed(tmp_path, NEW, against=(other,)) == alone
    assert removed(tmp_path, NEW) == alone


def test_an_index_in_an_object_store_is_as_good_as_a_local_one(tmp_path: Path) -> None:
    local, remote = str(tmp_path / "june"), f"memory://{tmp_path.name}/june"
    corpus = write_corpus(tmp_path / "old", OLD)
    for url in (local, remote):
        MinhashDedup(write_index=url).survey(corpus, str(tmp_path / "survey-old"), SerialRunner())
    assert storage.read_bytes(f"{remote}/{MANIFEST}") == Path(local, MANIFEST).read_bytes()
    found = [removed(tmp_path / name, NEW, against=(url,)) for name, url in (("a", local), ("b", remote))]
    assert found[0] == found[1]
    storage.remove(f"{remote}/near/bands/shard-00000.arrow")
    with pytest.raises(ShardsFailed, match=r"bands/shard-00000\.arrow is missing"):
        removed(tmp_path / "c", NEW, against=(remote,))


def test_two_ray_workers_make_the_same_bytes_as_one_process(tmp_path: Path) -> None:
    june = write_index(tmp_path, "june", OLD)
    settings: dict[str, Any] = {"against": (june,), "partition_keys": 1500}
    corpus, _ = search(tmp_path / "serial", NEW, **settings, write_index=str(tmp_path / "serial" / "july"))
    stage = MinhashDedup(**settings, write_index=str(tmp_path / "ray" / "july"))
    with Engine(workers=2) as engine:
        stage.survey(corpus, str(tmp_path / "ray" / "survey"), engine)
    for folder in ("survey", "july"):
        assert output_of(tmp_path / "serial" / folder) == output_of(tmp_path / "ray" / folder)
    assert (tmp_path / "serial/july" / MANIFEST).read_bytes() == (tmp_path / "ray/july" / MANIFEST).read_bytes()
