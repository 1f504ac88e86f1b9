"""Fused passes over a corpus: what is kept, dropped, quarantined and written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from pipeline.corpus import build_corpus, open_corpus, plan_passes
from pipeline.errors import ShardsFailed, UserError
from pipeline.shard import StageDirectory, read_batches
from pipeline.sources.jsonl import JsonLines
from pipeline.stage import DocumentStage, Drops, Outcome, Position, Stage
from tests.pipeline.runner import SerialRunner
from tests.pipeline.stages_for_tests import Brittle, DropLong, DropRareLengths, Shout


def write_input(folder: Path, *shards: list[str]) -> JsonLines:
    folder.mkdir(exist_ok=True)
    for number, texts in enumerate(shards):
        lines = [json.dumps({"id": f"{number}-{row}", "text": text}) for row, text in enumerate(texts)]
        (folder / f"part-{number}.jsonl").write_text("\n".join(lines) + "\n")
    return JsonLines(path=str(folder))


def build(
    tmp_path: Path, source: JsonLines, stages: list[Stage], **options: Any
) -> tuple[dict[str, Any], SerialRunner]:
    runner = SerialRunner()
    return build_corpus([source], stages, str(tmp_path / "corpus"), runner, options.get("bad", 0.0)), runner


def texts(corpus: StageDirectory) -> list[str]:
    return [text for batch in corpus.batches() for text in batch["text"].to_pylist()]


def test_stages_between_barriers_share_one_pass() -> None:
    passes = plan_passes([DropLong(), Shout(), DropRareLengths(), Brittle()])
    assert [planned.name for planned in passes] == ["00-read", "01-drop_rare_lengths"]
    assert [[stage.name for stage in planned.stages] for planned in passes] == [["drop_long", "shout"], ["brittle"]]


def test_every_document_is_kept_or_explained(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["one", "two", "long" * 10], ["three", "x" * 21, "only"])
    manifest, _ = build(tmp_path, source, [DropLong(), DropRareLengths(), Shout()])
    assert texts(open_corpus(str(tmp_path / "corpus"))) == ["ONE", "TWO"]
    dropped = [
        row
        for path in sorted((tmp_path / "corpus").glob("*/dropped/*.parquet"))
        for row in parquet.read_table(path).to_pylist()
    ]
    assert {(row["id"], row["stage"], row["rule"], row["value"], row["threshold"]) for row in dropped} == {
        ("0-2", "drop_long", "characters_max", "40", "20"),
        ("1-1", "drop_long", "characters_max", "21", "20"),
        ("1-0", "drop_rare_lengths", "rare_length", "5", None),
        ("1-2", "drop_rare_lengths", "rare_length", "4", None),
    }
    funnel = [(entry["stage"], entry["documents_in"], entry["documents_out"]) for entry in manifest["funnel"]]
    assert funnel == [("read", 6, 6), ("drop_long", 6, 4), ("drop_rare_lengths", 4, 2), ("shout", 2, 2)]
    assert manifest["funnel"][-1]["counts"] == {"shouted": 2}


def test_a_second_run_does_nothing_and_a_changed_key_redoes_what_depends_on_it(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["one", "two"], ["six", "three"])
    stages = [DropLong(), DropRareLengths(), Shout()]
    first, _ = build(tmp_path, source, stages)
    again, runner = build(tmp_path, source, stages)
    assert runner.executed == []
    assert again == first
    _, runner = build(tmp_path, source, [DropLong(), DropRareLengths(), Brittle()])
    assert runner.executed == ["shard-00000", "shard-00001"], "only the pass with the changed stage is done again"
    _, runner = build(tmp_path, source, [DropLong(longest=4), DropRareLengths(), Brittle()])
    assert runner.executed == [
        *("shard-00000", "shard-00001"),  # the first pass has another threshold
        "shard-00001",  # of the survey only the shard whose content changed
        "shard-00001",  # and so on
    ]


def test_a_changed_input_redoes_its_own_shard(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["one"], ["two"])
    build(tmp_path, source, [Shout()])
    (tmp_path / "in" / "part-1.jsonl").write_text('{"id": "new", "text": "fresh text"}\n')
    _, runner = build(tmp_path, source, [Shout()])
    assert runner.executed == ["shard-00001"]
    assert texts(open_corpus(str(tmp_path / "corpus"))) == ["ONE", "FRESH TEXT"]


def test_shards_of_removed_inputs_disappear(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["one"], ["two"])
    build(tmp_path, source, [])
    (tmp_path / "in" / "part-1.jsonl").unlink()
    build(tmp_path, source, [])
    names = {path.name for path in (tmp_path / "corpus" / "00-read").rglob("shard-*")}
    assert names == {"shard-00000.arrow", "shard-00000.json", "shard-00000.parquet"}


def test_a_damaged_shard_is_done_again(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["one"], ["two"])
    build(tmp_path, source, [])
    shard = tmp_path / "corpus" / "00-read" / "shard-00001.arrow"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-9])
    _, runner = build(tmp_path, source, [])
    assert runner.executed == ["shard-00001"]
    assert shard.read_bytes() == whole


def test_a_document_that_breaks_a_stage_is_quarantined_and_the_others_go_on(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["fine", "poison", "good"])
    build(tmp_path, source, [Brittle(), Shout()], bad=0.5)
    assert texts(open_corpus(str(tmp_path / "corpus"))) == ["FINE", "GOOD"]
    entry = json.loads((tmp_path / "corpus/00-read/quarantine/shard-00000.jsonl").read_text())
    assert entry["file"] == "0-1"
    assert "brittle raised RuntimeError: cannot digest this" in entry["reason"]


def test_more_bad_records_than_allowed_fail_the_job_and_leave_no_manifest(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["fine", "poison", "good"])
    with pytest.raises(UserError, match=r"1 of \d records could not be used .* max_bad_fraction"):
        build(tmp_path, source, [Brittle()])
    assert not list((tmp_path / "corpus").rglob("stage.json"))


def test_a_stage_that_drops_everything_is_an_error_that_names_its_rules(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["one", "two"])
    with pytest.raises(UserError, match=r"drop_long dropped all 2 documents \(characters_max 2\)"):
        build(tmp_path, source, [DropLong(longest=1)])


def test_an_input_of_which_nothing_is_wanted_or_usable_is_not_called_empty(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["one", "two"])
    with pytest.raises(UserError, match=r"no document was read: of the records 2 were skipped: weight$"):
        build(tmp_path, source.model_copy(update={"weight": 1e-9}), [])
    with pytest.raises(UserError, match=r"no document was read: of the records 2 could not be used, see .*quarantine$"):
        build(tmp_path, source.model_copy(update={"text_field": "body"}), [], bad=1.0)


def test_an_empty_input_is_an_error_and_never_an_empty_success(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.jsonl").write_text("\n\n")
    with pytest.raises(UserError, match=r"empty\.jsonl.*no document was read"):
        build(tmp_path, JsonLines(path=str(tmp_path / "in")), [])


def test_a_broken_shard_fails_alone_and_the_rest_is_kept(tmp_path: Path) -> None:
    import gzip

    source = write_input(tmp_path / "in", ["one"], ["two"])
    whole = gzip.compress(b'{"text": "three"}\n' * 500)
    (tmp_path / "in" / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ShardsFailed, match=r"cut\.jsonl\.gz: the gzip data is damaged or cut short"):
        build(tmp_path, source, [])
    assert not list((tmp_path / "corpus").rglob("stage.json"))
    (tmp_path / "in" / "cut.jsonl.gz").write_bytes(whole)
    _, runner = build(tmp_path, source, [])
    assert runner.executed == ["shard-00000"], "the two good shards are not read again"


class Loser(DocumentStage):
    """A wrong stage: it removes rows itself."""

    name = "loser"

    def apply(self, documents: Any, position: Position) -> Outcome:
        return Outcome(documents.slice(1))


def test_a_stage_that_loses_a_document_without_a_reason_is_refused(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["one", "two"])
    with pytest.raises(UserError, match="stage loser returned 1 documents for 2"):
        build(tmp_path, source, [Loser()])


class Labeller(DocumentStage):
    """Adds a column, whether or not there is one of that name."""

    name = "labeller"

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        return Outcome(documents.append_column("label", pa.nulls(documents.num_rows, pa.string())))


def test_a_column_that_is_there_already_is_not_added_again(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", ["one", "two"])
    with pytest.raises(ShardsFailed, match="stage labeller adds the columns label, which the documents have already"):
        build(tmp_path, source, [Labeller(), Labeller()])


def test_the_first_reason_wins_and_drops_come_in_order() -> None:
    drops = Drops()
    drops.add(3, "b", 0.123456789, 1)
    drops.add(1, "a", "fr", "en", kept_id="x", similarity=0.5)
    drops.add(3, "c")
    assert list(drops.items()) == [(1, ("a", "fr", "en", "x", 0.5)), (3, ("b", "0.123457", "1", None, None))]


def test_the_directory_is_a_hugging_face_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    source = write_input(tmp_path / "in", ["one", "two"], ["three"])
    build(tmp_path, source, [])
    corpus = open_corpus(str(tmp_path / "corpus"))
    loaded = datasets.load_from_disk(corpus.url)
    assert loaded["text"][:] == ["one", "two", "three"]
    first = next(read_batches(corpus.path(corpus.shards[0])))
    assert loaded.features.arrow_schema.names == first.schema.names
