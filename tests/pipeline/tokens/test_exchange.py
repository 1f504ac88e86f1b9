"""Import of others' tokens and export: every token of every document, in both directions."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.errors import ShardsFailed, UserError
from pipeline.shard import StageDirectory
from pipeline.tokenizer.load import load_tokenizer
from pipeline.tokens import importing
from pipeline.tokens.exporting import export_tokens
from pipeline.tokens.importing import import_tokens
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.write import write_tokens
from tests.pipeline.runner import SerialRunner
from tests.pipeline.tokens.reading import contents, rows_of
from tests.pipeline.tokens.test_megatron import Builder, documents_of

SETTINGS = TokensSettings(context_length=16, validation_fraction=0.2, packing="best_fit")
VOCAB_SIZE = 300
WORDS = ["sea", "shell", "shore", "größer", "世界", "x = 1\n", "seventeen", "dog"]


def _texts() -> list[list[str]]:
    draw = random.Random(2)
    return [[" ".join(draw.choices(WORDS, k=draw.randint(1, 30))) for _ in range(size)] for size in (25, 35)]


TEXTS = _texts()


@pytest.fixture(scope="module")
def documents(tokenizer: str) -> list[list[int]]:
    """Token ids of each text, without end-of-text."""
    encoder = load_tokenizer(f"{tokenizer}/tokenizer.json")
    return [encoder.encode(text).ids for shard in TEXTS for text in shard]


def _imported(source: Path | str, tokenizer: str, target: Path, **options: Any) -> list[list[int]]:
    """Import and put the documents together again; short ones only, so that none is cut."""
    fields = SETTINGS.model_copy(update={"context_length": 512})
    import_tokens(str(source), f"{tokenizer}/tokenizer.json", str(target), fields, SerialRunner(), **options)
    return [list(ids) for split in ("train", "validation") for row in rows_of(target, split) for _, ids in row.pieces()]


def _closed(documents: list[list[int]]) -> list[list[int]]:
    return sorted([*document, 0] for document in documents)


@pytest.mark.parametrize("closing", [True, False], ids=["with end-of-text", "without"])
def test_a_megatron_dataset_is_imported_in_slices(
    documents: list[list[int]], tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closing: bool
) -> None:
    monkeypatch.setattr(importing, "SLICE_TOKENS", 300)
    builder = Builder(tmp_path / "theirs", np.uint16, 8)
    for document in documents:
        half = len(document) // 2
        builder.add_document([document[:half], [*document[half:], 0] if closing else document[half:]])
    builder.finalize()
    assert len(importing.plan_slices(str(tmp_path / "theirs"), "")) > 3
    for number, name in enumerate(("theirs", "theirs.bin", "theirs.idx")):
        assert sorted(_imported(tmp_path / name, tokenizer, tmp_path / f"{number}")) == _closed(documents)
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


def _table(documents: list[list[int]], kind: pa.DataType) -> pa.Table:
    return pa.table({"id": list(range(len(documents))), "input_ids": pa.array(documents, kind)})


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.large_list(pa.int64()), pa.list_(pa.uint16())], ids=str)
@pytest.mark.parametrize("form", ["parquet", "arrow stream", "arrow file"])
def test_a_column_of_token_ids_is_imported(
    documents: list[list[int]], tokenizer: str, tmp_path: Path, form: str, kind: pa.DataType
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    for number, part in enumerate((documents[:20], documents[20:])):
        table = _table(part, kind)
        path = folder / f"part-{number}.{form.split()[0]}"
        if form == "parquet":
            parquet.write_table(table, path, row_group_size=7)
        else:
            new = pa.ipc.new_stream if form == "arrow stream" else pa.ipc.new_file
            with new(str(path), table.schema) as writer:
                writer.write_table(table, max_chunksize=7)
    assert sorted(_imported(folder, tokenizer, tmp_path / "ours")) == _closed(documents)


def test_what_datasets_saved_is_imported_split_by_split(
    documents: list[list[int]], tokenizer: str, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    saved = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"tokens": documents})})
    saved.save_to_disk(str(tmp_path / "theirs"))
    with pytest.raises(UserError, match=r"has the splits train: name one of them, such as .*/theirs/train"):
        _imported(tmp_path / "theirs", tokenizer, tmp_path / "ours")
    found = _imported(tmp_path / "theirs" / "train", tokenizer, tmp_path / "ours", column="tokens")
    assert sorted(found) == _closed(documents)


def test_rows_of_a_stream_are_cut_at_end_of_text(documents: list[list[int]], tokenizer: str, tmp_path: Path) -> None:
    stream = [token for document in documents for token in [*document, 0]]
    blocks = [stream[start : start + 32] for start in range(0, len(stream), 32)]
    parquet.write_table(_table(blocks, pa.list_(pa.int32())), tmp_path / "blocks.parquet")
    found = _imported(tmp_path / "blocks.parquet", tokenizer, tmp_path / "ours", boundaries="end-of-text")
    assert sorted(found) == _closed(documents)


def test_end_of_text_inside_rows_is_counted(tokenizer: str, tmp_path: Path) -> None:
    rows = [[5, 0, 6], [7, 0], *[[number] for number in range(8, 60)]]
    parquet.write_table(_table(rows, pa.list_(pa.int32())), tmp_path / "x.parquet")
    path = f"{tokenizer}/tokenizer.json"
    fields = SETTINGS.model_copy(update={"validation_fraction": 0.5})
    manifest = import_tokens(str(tmp_path / "x.parquet"), path, str(tmp_path / "ours"), fields, SerialRunner())
    assert manifest["end_of_text_inside_documents"] == 1
    assert manifest["sources"] == ["x.parquet"]


def test_a_second_import_does_nothing_and_a_changed_setting_reads_nothing_again(
    documents: list[list[int]], tokenizer: str, tmp_path: Path
) -> None:
    parquet.write_table(_table(documents, pa.list_(pa.int32())), tmp_path / "x.parquet")
    arguments = (str(tmp_path / "x.parquet"), f"{tokenizer}/tokenizer.json", str(tmp_path / "ours"))
    import_tokens(*arguments, SETTINGS, SerialRunner())
    before, runner = contents(tmp_path / "ours"), SerialRunner()
    import_tokens(*arguments, SETTINGS, runner)
    assert runner.executed == []
    assert contents(tmp_path / "ours") == before
    import_tokens(*arguments, SETTINGS.model_copy(update={"context_length": 32}), runner)
    assert "shard-00000" not in runner.executed
    assert runner.executed


FAULTS: dict[str, tuple[Any, str]] = {
    "too great an id": ([[1, 2], [3, 300, 4]], r"x\.parquet: row 1 has the token id 300, .*ids from 0 to 299"),
    "a negative id": ([[1, -7]], r"row 0 has the token id -7"),
    "a null row": ([[1], None], r"column input_ids has nulls"),
    "a null id": ([[1, None]], r"column input_ids has nulls"),
    "no lists": ([1, 2], r"column input_ids is int64, not lists of whole numbers"),
    "floats": ([[1.5]], r"is list<.*double.*not lists of whole numbers"),
}


@pytest.mark.parametrize(("values", "message"), FAULTS.values(), ids=FAULTS)
def test_rows_that_hold_no_token_ids_are_refused(values: Any, message: str, tokenizer: str, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"input_ids": pa.array(values)}), tmp_path / "x.parquet")
    with pytest.raises(ShardsFailed, match=message):
        _imported(tmp_path / "x.parquet", tokenizer, tmp_path / "ours")
    assert not (tmp_path / "ours" / "tokens.json").exists()


def test_ids_of_a_megatron_dataset_are_checked_too(tokenizer: str, tmp_path: Path) -> None:
    builder = Builder(tmp_path / "x", np.int32, 4)
    for document in ([1, 2], [3], [4, 999]):
        builder.add_document([document])
    builder.finalize()
    with pytest.raises(ShardsFailed, match=r"x: document 2 has the token id 999"):
        _imported(tmp_path / "x", tokenizer, tmp_path / "ours")


def test_a_wrong_column_or_tokenizer_or_file_is_refused(
    documents: list[list[int]], tokenizer: str, tmp_path: Path
) -> None:
    parquet.write_table(_table(documents, pa.list_(pa.int32())), tmp_path / "x.parquet")
    with pytest.raises(ShardsFailed, match=r"x\.parquet has no column ids, only id, input_ids"):
        _imported(tmp_path / "x.parquet", tokenizer, tmp_path / "a", column="ids")
    with pytest.raises(UserError, match=r"has no token </s>: name the one that closes a document"):
        _imported(tmp_path / "x.parquet", tokenizer, tmp_path / "b", end_of_text="</s>")
    with pytest.raises(UserError, match=r"is no tokenizer\.json"):
        _imported(tmp_path / "x.parquet", str(tmp_path), tmp_path / "c")
    (tmp_path / "broken.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:200])
    with pytest.raises(ShardsFailed, match=r"broken\.parquet is damaged or cut short"):
        _imported(tmp_path / "broken.parquet", tokenizer, tmp_path / "d")
    with pytest.raises(UserError, match=r"no such file"):
        _imported(tmp_path / "nothing", tokenizer, tmp_path / "e")


@pytest.mark.parametrize("shape", [{}, {"bucket_bytes": 500, "shard_bytes": 200}, {"shuffle": False}], ids=str)
def test_exported_documents_are_those_of_the_corpus(
    corpus: StageDirectory, documents: list[list[int]], tokenizer: str, tmp_path: Path, shape: dict[str, Any]
) -> None:
    """With `split` no document stays cut, but for those that lie across buckets and the tokens that are lost."""
    fields = SETTINGS.model_copy(update={"packing": "split", **shape})
    manifest = write_tokens(fields, corpus, tokenizer, str(tmp_path / "tokens"), SerialRunner())
    exported = export_tokens(str(tmp_path / "tokens"), str(tmp_path / "out"))
    found = []
    for split, summary in zip(("train", "validation"), exported, strict=True):
        parts = documents_of(tmp_path / "out" / split)
        assert summary.documents == len(parts)
        assert summary.tokens == sum(map(len, parts)) == manifest["splits"][split]["target_tokens"]
        found += parts
    whole = _closed(documents)
    cut = [part for part in found if part not in whole]
    buckets = len(
        {shard["file"].rpartition("-")[0] for split in manifest["splits"].values() for shard in split["shards"]}
    )
    assert len(cut) <= 4 * buckets
    assert len([part for part in found if part in whole]) >= len(whole) - 2 * buckets
    if not shape:
        assert len(cut) <= 4


def test_exported_best_fit_rows_hold_every_token_but_no_padding(
    tokens: Path, documents: list[list[int]], tmp_path: Path
) -> None:
    export_tokens(str(tokens), str(tmp_path))
    found = documents_of(tmp_path / "train") + documents_of(tmp_path / "validation")
    cut = [document[at : at + 16] for document in _closed(documents) for at in range(0, len(document), 16)]
    assert sorted(found) == sorted(cut)


def test_what_was_exported_can_be_imported(corpus: StageDirectory, tokenizer: str, tmp_path: Path) -> None:
    fields = SETTINGS.model_copy(update={"context_length": 512})
    write_tokens(fields, corpus, tokenizer, str(tmp_path / "tokens"), SerialRunner())
    export_tokens(str(tmp_path / "tokens"), str(tmp_path / "out"))
    assert sorted(_imported(tmp_path / "out" / "train", tokenizer, tmp_path / "again")) == sorted(
        documents_of(tmp_path / "out" / "train")
    )


@pytest.mark.parametrize("file", ["train.bin", "train.idx", "validation.bin", "validation.idx"])
def test_an_export_overwrites_no_file(tokens: Path, tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(b"of another dataset")
    with pytest.raises(UserError, match=rf"{file} is there already and is not overwritten: name another folder"):
        export_tokens(str(tokens), str(tmp_path))
    assert contents(tmp_path) == {file: b"of another dataset"}


def test_an_export_leaves_other_files_of_its_folder_alone(tokens: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.bin").write_bytes(b"mine")
    export_tokens(str(tokens), str(tmp_path))
    assert contents(tmp_path)["notes.bin"] == b"mine"
    assert len(contents(tmp_path)) == 5


@pytest.mark.parametrize("change", ["flipped", "truncated", "missing"])
def test_a_damaged_shard_is_named_and_nothing_of_its_split_exported(tokens: Path, tmp_path: Path, change: str) -> None:
    shard = Path(shutil.copytree(tokens, tmp_path / "tokens")) / "train" / "shard-00000-000.arrow"
    content = bytearray(shard.read_bytes())
    if change == "missing":
        shard.unlink()
    else:
        content[len(content) // 2] ^= 4
        shard.write_bytes(content if change == "flipped" else content[: len(content) // 2])
    with pytest.raises(UserError, match=r"train/shard-00000-000\.arrow (does not exist|does not have the sha256)"):
        export_tokens(str(tmp_path / "tokens"), str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("train*"))


def test_what_lies_in_the_target_folder_is_never_removed(tokenizer: str, tmp_path: Path) -> None:
    source = tmp_path / "theirs"
    source.mkdir()
    parquet.write_table(pa.table({"input_ids": [[20, 21], [22]]}), source / "part.parquet")
    (source / "notes.json").write_text("{}")
    before = contents(source)
    with pytest.raises(
        UserError, match=r"theirs is no token dataset but holds notes\.json: name a new or empty folder"
    ):
        _imported(source, tokenizer, source)
    assert contents(source) == before


def test_rows_of_a_token_dataset_are_no_documents(tokens: Path, tokenizer: str, tmp_path: Path) -> None:
    """Each row begins with a token of the row before: it would be trained on twice."""
    with pytest.raises(ShardsFailed, match=r"train/shard-00000-000\.arrow is of a gptmill token dataset"):
        _imported(tokens / "train", tokenizer, tmp_path / "again")
