from __future__ import annotations

import gzip
import random
import shutil
from dataclasses import astuple
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.errors import ShardsFailed, UserError
from pipeline.sampling import chosen
from pipeline.shard import StageDirectory, open_table, shard_name
from pipeline.tokenizer.load import load_tokenizer, token_bytes
from pipeline.tokens.format import describe, read_tokens_manifest
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.shuffling import Shuffle
from pipeline.tokens.write import write_tokens
from tests.pipeline.corpora import write_corpus, write_texts
from tests.pipeline.runner import SerialRunner
from tests.pipeline.tokens.reading import Row, contents, rows_of

SETTINGS = TokensSettings(context_length=16, validation_fraction=0.2)
VOCAB_SIZE = 300
WORDS = ["sea", "shell", "shore", "größer", "世界", "<|endoftext|>", "x = 1\n", "seventeen", "dog"]


def _texts(shards: int, documents: int, seed: int = 0) -> list[list[str]]:
    draw = random.Random(seed)
    return [[" ".join(draw.choices(WORDS, k=draw.randint(0, 30))) for _ in range(documents)] for _ in range(shards)]


TEXTS = _texts(shards=3, documents=30)


def _rows(directory: Path, split: str) -> np.ndarray:
    return np.array([row.ids for row in rows_of(directory, split)])


def _documents(tokenizer: str, texts: list[list[str]], fields: TokensSettings, split: str) -> list[list[int]]:
    """The tokens of each document of a split, end-of-text included, in the order of the settings."""
    encoder = load_tokenizer(f"{tokenizer}/tokenizer.json")
    found = []
    for number, shard in enumerate(texts):
        held_out = chosen(
            pa.chunked_array([shard], type=pa.string()), fields.validation_fraction, "validation", fields.split_seed
        )
        keys = Shuffle(fields.shuffle_seed, {}).keys(shard_name(number), len(shard)).tolist()
        for row, (text, out) in enumerate(zip(shard, held_out, strict=True)):
            if bool(out) == (split == "validation"):
                place = keys[row] if fields.shuffle else 0
                found.append((place, number, row, [*encoder.encode(text).ids, 0]))
    return [document for *_, document in sorted(found)]


def _expected_rows(documents: list[list[int]], length: int) -> tuple[list[Row], int]:
    """Rows of the stream of all documents, worked out the long way, and the tokens that are lost."""
    stream = [0, *(token for document in documents for token in document)]
    ends = set(np.cumsum([len(document) for document in documents]).tolist())
    rows = []
    for start in range(0, len(stream) - 1, length):
        ids = tuple(stream[start : start + length + 1])
        if len(ids) <= length:
            return rows, len(ids) - 1
        inner = [place for place in range(1, length) if start + place in ends]
        rows.append(Row(ids, (*inner, length), (0,) * (len(inner) + 1)))
    return rows, 0


SHAPES = {
    "one bucket": {},
    "many buckets": {"bucket_bytes": 400},
    "buckets smaller than a row": {"bucket_bytes": 80},
    "in order": {"shuffle": False},
    "in order, many buckets": {"shuffle": False, "bucket_bytes": 1000},
    "another seed": {"shuffle_seed": 5, "bucket_bytes": 1000},
    "small files": {"shard_bytes": 300},
}


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_split_rows_are_the_stream_of_all_documents_whatever_the_buckets(
    corpus: StageDirectory, tokenizer: str, tmp_path: Path, split: str, shape: dict[str, Any]
) -> None:
    fields = SETTINGS.model_copy(update=shape)
    manifest = write_tokens(fields, corpus, tokenizer, str(tmp_path), SerialRunner())
    rows, lost = _expected_rows(_documents(tokenizer, TEXTS, fields, split), 16)
    assert sorted(map(astuple, rows_of(tmp_path, split))) == sorted(map(astuple, rows))
    entry = manifest["splits"][split]
    assert (entry["rows"], entry["target_tokens"], entry["lost_tokens"]) == (len(rows), 16 * len(rows), lost)
    assert entry["padding_tokens"] == 0
    row_bytes = 17 * 2
    limit = max(1, fields.shard_bytes // row_bytes)
    assert all(shard["rows"] <= limit for shard in entry["shards"])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_best_fit_rows_hold_every_document_that_fits_uncut(
    corpus: StageDirectory, tokenizer: str, tmp_path: Path, shape: dict[str, Any]
) -> None:
    fields = SETTINGS.model_copy(update={"packing": "best_fit", **shape})
    manifest = write_tokens(fields, corpus, tokenizer, str(tmp_path), SerialRunner())
    for split in ("train", "validation"):
        rows = rows_of(tmp_path, split)
        parts = [list(targets) for row in rows for _, targets in row.pieces()]
        documents = _documents(tokenizer, TEXTS, fields, split)
        cut = [document[at : at + 16] for document in documents for at in range(0, len(document), 16)]
        assert sorted(parts) == sorted(cut)
        entry = manifest["splits"][split]
        assert entry["target_tokens"] == sum(map(len, documents))
        assert entry["padding_tokens"] == sum(16 - row.ends[-1] for row in rows)
        assert entry["lost_tokens"] == 0
        assert all(set(row.ids[row.ends[-1] + 1 :]) <= {3} for row in rows)


def test_the_shuffle_is_global_and_another_seed_draws_another(
    corpus: StageDirectory, tokenizer: str, tmp_path: Path
) -> None:
    orders = []
    for seed in (0, 1):
        fields = SETTINGS.model_copy(update={"shuffle_seed": seed})
        write_tokens(fields, corpus, tokenizer, str(tmp_path / str(seed)), SerialRunner())
        orders.append(_documents(tokenizer, TEXTS, fields, "train"))
    in_order = _documents(tokenizer, TEXTS, SETTINGS.model_copy(update={"shuffle": False}), "train")
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(in_order)
    places = [in_order.index(document) for document in orders[0]]
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.35


def test_the_bytes_of_the_targets_text_are_counted(tokens: Path, tokenizer: str) -> None:
    table = token_bytes(load_tokenizer(f"{tokenizer}/tokenizer.json"))
    for split in ("train", "validation"):
        text = b"".join(table[index] for index in _rows(tokens, split)[:, 1:].reshape(-1))
        assert read_tokens_manifest(str(tokens))["splits"][split]["text_bytes"] == len(text)


def test_the_baseline_is_what_gzip_makes_of_the_validation_text(tokens: Path, tokenizer: str) -> None:
    encoder = load_tokenizer(f"{tokenizer}/tokenizer.json")
    ids = _rows(tokens, "validation")[:, 1:].reshape(-1)
    text = b"".join(token_bytes(encoder)[index] for index in ids)
    baselines = read_tokens_manifest(str(tokens))["baselines"]
    assert baselines["validation_text_bytes"] == len(text)
    expected = 8 * len(gzip.compress(text, compresslevel=9)) / len(text)
    assert baselines["validation_gzip9_bits_per_byte"] == pytest.approx(expected, abs=1e-5)


def test_the_manifest_names_what_the_trainer_must_check(tokens: Path, tokenizer: str, corpus: StageDirectory) -> None:
    manifest = read_tokens_manifest(str(tokens))
    assert manifest["format_version"] == 2
    assert (manifest["packing"], manifest["sources"], manifest["padding_id"]) == ("split", ["test"], 3)
    assert (manifest["context_length"], manifest["dtype"], manifest["vocab_size"]) == (16, "uint16", 300)
    assert manifest["tokenizer_fingerprint"] == storage.sha256_of(f"{tokenizer}/tokenizer.json")
    assert manifest["corpus_fingerprint"] == corpus.fingerprint
    assert manifest["end_of_text_id"] == 0
    assert manifest["special_tokens"] == {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2, "<|pad|>": 3}
    for split in ("train", "validation"):
        for shard in manifest["splits"][split]["shards"]:
            assert storage.sha256_of(str(tokens / shard["file"])) == shard["sha256"]
            assert open_table(str(tokens / shard["file"])).num_rows == shard["rows"] > 0


def test_special_tokens_written_in_a_text_are_counted_and_stay_text(tokens: Path, tokenizer: str) -> None:
    written = sum(text.count("<|endoftext|>") for texts in TEXTS for text in texts)
    assert read_tokens_manifest(str(tokens))["special_tokens_in_text"]["<|endoftext|>"] == written > 50
    documents = len(_documents(tokenizer, TEXTS, SETTINGS, "train"))
    assert (_rows(tokens, "train")[:, 1:] == 0).sum() in (documents, documents - 1)


def test_datasets_loads_the_whole_and_each_split(tokens: Path) -> None:
    datasets = pytest.importorskip("datasets")
    whole = datasets.load_from_disk(str(tokens))
    assert set(whole) == {"train", "validation"}
    for split in ("train", "validation"):
        alone = datasets.load_from_disk(str(tokens / split))
        rows = rows_of(tokens, split)
        for name, field in (("input_ids", "ids"), ("document_ends", "ends"), ("document_sources", "sources")):
            expected = [list(getattr(row, field)) for row in rows]
            assert alone[name][:] == whole[split][name][:] == expected
        assert alone.features["input_ids"].length == 17


def test_the_order_of_the_tasks_changes_no_byte(
    tokens: Path, corpus: StageDirectory, tokenizer: str, tmp_path: Path
) -> None:
    runner = SerialRunner(order=lambda tasks: tasks[::-1])
    write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path), runner)
    assert runner.executed == [
        *("shard-00002", "shard-00001", "shard-00000"),
        *("validation-shard-00000", "train-shard-00000"),
        *("validation-shard-rest", "train-shard-rest"),
    ]
    assert contents(tmp_path) == contents(tokens)


def test_a_second_run_does_nothing(tokens: Path, corpus: StageDirectory, tokenizer: str) -> None:
    before = contents(tokens)
    runner = SerialRunner()
    assert write_tokens(SETTINGS, corpus, tokenizer, str(tokens), runner) == read_tokens_manifest(str(tokens))
    assert runner.executed == []
    assert contents(tokens) == before


@pytest.mark.parametrize("keep", [0, 1000], ids=["lost", "cut off"])
@pytest.mark.parametrize(
    ("file", "task"),
    [("train/shard-00000-000.arrow", "train-shard-00000"), ("encoded/shard-00001.arrow", "shard-00001")],
)
def test_a_lost_or_cut_off_file_is_written_again_alone(
    tokens: Path, corpus: StageDirectory, tokenizer: str, tmp_path: Path, keep: int, file: str, task: str
) -> None:
    copy = Path(shutil.copytree(tokens, tmp_path / "tokens"))
    (copy / "tokens.json").unlink()
    shard = copy / file
    if keep:
        shard.write_bytes(shard.read_bytes()[:keep])
    else:
        shard.unlink()
    runner = SerialRunner()
    write_tokens(SETTINGS, corpus, tokenizer, str(copy), runner)
    assert runner.executed == [task]
    assert contents(copy) == contents(tokens)


def test_only_changed_corpus_shards_are_encoded_again_and_nothing_old_remains(tokenizer: str, tmp_path: Path) -> None:
    directory = tmp_path / "tokens"
    write_tokens(SETTINGS, write_texts(tmp_path / "first", TEXTS), tokenizer, str(directory), SerialRunner())
    shorter = write_texts(tmp_path / "second", [TEXTS[0], _texts(1, 40, seed=5)[0]])
    runner = SerialRunner()
    write_tokens(SETTINGS, shorter, tokenizer, str(directory), runner)
    encoded = {key for key in runner.executed if key.startswith("shard-")}
    assert encoded == {"shard-00001"}
    write_tokens(SETTINGS, shorter, tokenizer, str(tmp_path / "fresh"), SerialRunner())
    assert contents(directory) == contents(tmp_path / "fresh")


def test_a_failed_shard_leaves_no_manifest(tokenizer: str, tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "corpus", TEXTS)
    path = tmp_path / "corpus" / "shard-00001.arrow"
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ShardsFailed, match=r"shard-00001: .*shard-00001\.arrow"):
        write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path / "tokens"), SerialRunner())
    with pytest.raises(UserError, match=r"has no tokens\.json"):
        read_tokens_manifest(str(tmp_path / "tokens"))


def test_what_killed_tasks_left_half_written_is_removed(
    tokens: Path, corpus: StageDirectory, tokenizer: str, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tokens, tmp_path / "tokens"))
    (copy / "tokens.json").unlink()
    for folder in ("train", "validation", "encoded", "leftovers", "."):
        (copy / folder / ".tmp-shard-00000-000.arrow-1-ab").write_bytes(b"half")
    write_tokens(SETTINGS, corpus, tokenizer, str(copy), SerialRunner())
    assert contents(copy) == contents(tokens)


def test_a_changed_setting_takes_the_manifest_away_before_the_work(
    tokens: Path, corpus: StageDirectory, tokenizer: str, tmp_path: Path
) -> None:
    class Killed(SerialRunner):
        def map(self, *_: Any) -> list[dict[str, Any]]:
            raise KeyboardInterrupt

    copy = shutil.copytree(tokens, tmp_path / "tokens")
    with pytest.raises(KeyboardInterrupt):
        write_tokens(TokensSettings(context_length=8), corpus, tokenizer, str(copy), Killed())
    assert not (copy / "tokens.json").exists()


def test_a_corpus_without_validation_document_is_refused(tokenizer: str, tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "corpus", [["only one document " * 20]])
    with pytest.raises(UserError, match=r"none of the 1 documents fell to validation .* raise tokens\.validation_fr"):
        write_tokens(
            TokensSettings(context_length=16, validation_fraction=1e-9),
            corpus,
            tokenizer,
            str(tmp_path / "t"),
            SerialRunner(),
        )


def test_a_context_longer_than_the_corpus_is_refused(corpus: StageDirectory, tokenizer: str, tmp_path: Path) -> None:
    long = TokensSettings(context_length=1 << 16, validation_fraction=0.2)
    with pytest.raises(UserError, match=r"gives only \d+ training tokens, too few .* lower tokens\.context_length"):
        write_tokens(long, corpus, tokenizer, str(tmp_path), SerialRunner())


def test_a_tokenizer_changed_since_its_training_is_refused(
    corpus: StageDirectory, tokenizer: str, tmp_path: Path
) -> None:
    copy = shutil.copytree(tokenizer, tmp_path / "tokenizer")
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"is not the file that manifest\.json beside it describes"):
        write_tokens(SETTINGS, corpus, str(copy), str(tmp_path / "tokens"), SerialRunner())


def test_sources_are_counted_for_the_plan(tokenizer: str, tmp_path: Path) -> None:
    documents = [{"text": text, "source": "web" if index % 3 else "code"} for index, text in enumerate(TEXTS[0])]
    corpus = write_corpus(tmp_path / "corpus", [documents, documents[:10]])
    manifest = write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path / "tokens"), SerialRunner())
    table = describe(manifest)
    assert [(row["split"], row["source"]) for row in table][:2] == [("train", "code"), ("train", "web")]
    assert sum(row["documents"] for row in table) == 40
    assert sum(row["share"] for row in table if row["split"] == "train") == pytest.approx(1.0)
    assert sum(row["text_bytes"] for row in table) == sum(shard.text_bytes for shard in corpus.shards)
    tokens = sum(split["target_tokens"] + split["lost_tokens"] for split in manifest["splits"].values())
    assert sum(row["tokens"] for row in table) == tokens
    for split in ("train", "validation"):
        named: dict[str, int] = {}
        for row in rows_of(tmp_path / "tokens", split):
            for (_, targets), source in zip(row.pieces(), row.sources, strict=True):
                named[manifest["sources"][source]] = named.get(manifest["sources"][source], 0) + len(targets)
        counted = {name: entry["tokens"] for name, entry in manifest["splits"][split]["sources"].items()}
        assert sum(counted.values()) - sum(named.values()) == manifest["splits"][split]["lost_tokens"]
        assert all(counted[name] - 16 < named[name] <= counted[name] for name in named)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(2, 40),
    st.lists(st.lists(st.integers(0, 25), max_size=6), min_size=1, max_size=4),
    st.sampled_from(["split", "best_fit"]),
    st.sampled_from([200, 1000, 10_000]),
)
def test_no_shape_of_corpus_loses_a_token(
    corpus: StageDirectory,
    tokenizer: str,
    tmp_path_factory: pytest.TempPathFactory,
    context_length: int,
    shape: list[list[int]],
    packing: Literal["split", "best_fit"],
    bucket_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("shape")
    texts = [["sea " * words for words in shard] for shard in shape]
    texts.append([f"dog {number} " * 20 for number in range(8)])
    fields = TokensSettings(
        context_length=context_length, validation_fraction=0.5, packing=packing, bucket_bytes=bucket_bytes
    )
    manifest = write_tokens(fields, write_texts(folder / "corpus", texts), tokenizer, str(folder / "t"), SerialRunner())
    encoder = load_tokenizer(f"{tokenizer}/tokenizer.json")
    produced = sum(len(encoder.encode(text).ids) + 1 for shard in texts for text in shard)
    splits = manifest["splits"].values()
    assert sum(split["target_tokens"] + split["lost_tokens"] for split in splits) == produced
    assert all(split["lost_tokens"] < context_length for split in splits)
    for split in splits:
        assert split["target_tokens"] + split["padding_tokens"] == split["rows"] * context_length


def test_a_changed_context_length_or_packing_encodes_nothing_again(
    tokens: Path, corpus: StageDirectory, tokenizer: str, tmp_path: Path
) -> None:
    copy = shutil.copytree(tokens, tmp_path / "tokens")
    runner = SerialRunner()
    changed = SETTINGS.model_copy(update={"context_length": 32, "packing": "best_fit"})
    write_tokens(changed, corpus, tokenizer, str(copy), runner)
    assert not [key for key in runner.executed if key.startswith("shard-")]
    write_tokens(changed, corpus, tokenizer, str(tmp_path / "fresh"), SerialRunner())
    assert contents(copy) == contents(tmp_path / "fresh")


def test_an_empty_corpus_is_refused(tokenizer: str, tmp_path: Path) -> None:
    for number, shards in enumerate(([], [[]], [[], []])):
        corpus = write_texts(tmp_path / f"corpus-{number}", shards)
        with pytest.raises(UserError, match=rf"corpus-{number} holds no documents"):
            write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path / "t"), SerialRunner())
