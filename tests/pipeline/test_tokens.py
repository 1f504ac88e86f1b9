from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.errors import ShardsFailed, UserError
from pipeline.sampling import chosen
from pipeline.shard import StageDirectory, open_table
from pipeline.tokenizer.load import load_tokenizer, token_bytes
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from pipeline.tokens import describe, read_tokens_manifest, write_tokens
from pipeline.tokens_settings import TokensSettings
from tests.pipeline.corpora import write_corpus, write_texts
from tests.pipeline.runner import SerialRunner

SETTINGS = TokensSettings(context_length=16, validation_fraction=0.2)
VOCABULARY = ["sea", "shell", "shore", "größer", "世界", "<|endoftext|>", "x = 1\n", "seventeen", "dog"]


def _texts(shards: int, documents: int, seed: int = 0) -> list[list[str]]:
    draw = random.Random(seed)
    return [
        [" ".join(draw.choices(VOCABULARY, k=draw.randint(0, 30))) for _ in range(documents)] for _ in range(shards)
    ]


TEXTS = _texts(shards=3, documents=30)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> StageDirectory:
    return write_texts(tmp_path_factory.mktemp("corpus"), TEXTS)


@pytest.fixture(scope="module")
def tokenizer(corpus: StageDirectory, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = str(tmp_path_factory.mktemp("tokenizer"))
    train_tokenizer(TokenizerSettings(vocab_size=300), corpus, directory)
    return directory


@pytest.fixture(scope="module")
def tokens(corpus: StageDirectory, tokenizer: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokens")
    write_tokens(SETTINGS, corpus, tokenizer, str(directory), SerialRunner())
    return directory


def _rows(directory: Path, split: str) -> np.ndarray:
    manifest = json.loads((directory / "tokens.json").read_text())
    tables = [open_table(str(directory / shard["file"])) for shard in manifest["splits"][split]["shards"]]
    return np.array([row for table in tables for row in table["input_ids"].to_pylist()])


def _documents(texts: list[str], tokenizer: str, split: str) -> list[list[int]]:
    """The tokens of each document of a split, end-of-text included, in order."""
    encoder = load_tokenizer(f"{tokenizer}/tokenizer.json")
    held_out = chosen(pa.chunked_array([texts], type=pa.string()), SETTINGS.validation_fraction, "validation")
    mask = held_out if split == "validation" else ~held_out
    return [[*encoder.encode(text).ids, 0] for text, kept in zip(texts, mask, strict=True) if kept]


def _expected_targets(tokenizer: str, split: str, context: int) -> tuple[list[int], list[int]]:
    """Targets by the contract, worked out the long way: full rows of each shard, then the joined tails."""
    full: list[int] = []
    tails: list[int] = []
    for texts in TEXTS:
        stream = [token for ids in _documents(texts, tokenizer, split) for token in ids]
        cut = len(stream) // context * context
        full += stream[:cut]
        tails += stream[cut:]
    cut = len(tails) // context * context
    return full + tails[:cut], tails[cut:]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_token_is_the_target_of_exactly_one_row_but_those_counted_as_lost(
    tokens: Path, tokenizer: str, split: str
) -> None:
    targets, lost = _expected_targets(tokenizer, split, context=16)
    rows = _rows(tokens, split)
    assert rows[:, 1:].reshape(-1).tolist() == targets
    entry = read_tokens_manifest(str(tokens))["splits"][split]
    assert entry["target_tokens"] == len(targets) == entry["rows"] * 16
    assert entry["lost_tokens"] == len(lost) < 16


def test_consecutive_rows_overlap_by_one_token_and_a_shard_starts_after_end_of_text(tokens: Path) -> None:
    for shard in read_tokens_manifest(str(tokens))["splits"]["train"]["shards"]:
        rows = np.array(open_table(str(tokens / shard["file"]))["input_ids"].to_pylist())
        assert rows[0, 0] == 0
        assert (rows[1:, 0] == rows[:-1, -1]).all()


def test_rows_decode_to_the_documents(tokens: Path, tokenizer: str) -> None:
    encoder = load_tokenizer(f"{tokenizer}/tokenizer.json")
    table = open_table(str(tokens / "train" / "shard-00000.arrow"))
    stream = np.array(table["input_ids"].to_pylist())[:, 1:].reshape(-1)
    ends = np.flatnonzero(stream == 0)
    found = [encoder.decode(part[part != 0].tolist()) for part in np.split(stream, ends + 1)[: len(ends)]]
    expected = [text for text in TEXTS[0] if _documents([text], tokenizer, "train")]
    assert len(ends) > 15
    assert found == expected[: len(ends)]
    assert any("<|endoftext|>" in text for text in found)


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
    assert manifest["format_version"] == 1
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
    documents = sum(len(_documents(texts, tokenizer, "train")) for texts in TEXTS)
    assert (_rows(tokens, "train")[:, 1:] == 0).sum() in (documents, documents - 1)


def test_datasets_loads_the_whole_and_each_split(tokens: Path) -> None:
    datasets = pytest.importorskip("datasets")
    whole = datasets.load_from_disk(str(tokens))
    assert set(whole) == {"train", "validation"}
    for split in ("train", "validation"):
        alone = datasets.load_from_disk(str(tokens / split))
        assert alone["input_ids"][:] == whole[split]["input_ids"][:] == _rows(tokens, split).tolist()
        assert alone.features["input_ids"].length == 17


def _contents(directory: Path) -> dict[str, bytes]:
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_the_order_of_the_tasks_changes_no_byte(
    tokens: Path, corpus: StageDirectory, tokenizer: str, tmp_path: Path
) -> None:
    runner = SerialRunner(order=lambda tasks: tasks[::-1])
    write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path), runner)
    assert runner.executed == ["shard-00002", "shard-00001", "shard-00000"]
    assert _contents(tmp_path) == _contents(tokens)


def test_a_second_run_does_nothing(tokens: Path, corpus: StageDirectory, tokenizer: str) -> None:
    before = _contents(tokens)
    runner = SerialRunner()
    assert write_tokens(SETTINGS, corpus, tokenizer, str(tokens), runner) == read_tokens_manifest(str(tokens))
    assert runner.executed == []
    assert _contents(tokens) == before


@pytest.mark.parametrize("keep", [0, 1000], ids=["lost", "cut off"])
def test_a_lost_or_cut_off_shard_is_written_again_alone(
    tokens: Path, corpus: StageDirectory, tokenizer: str, tmp_path: Path, keep: int
) -> None:
    copy = Path(shutil.copytree(tokens, tmp_path / "tokens"))
    shard = copy / "train" / "shard-00001.arrow"
    if keep:
        shard.write_bytes(shard.read_bytes()[:keep])
    else:
        shard.unlink()
    runner = SerialRunner()
    write_tokens(SETTINGS, corpus, tokenizer, str(copy), runner)
    assert runner.executed == ["shard-00001"]
    assert _contents(copy) == _contents(tokens)


def test_only_changed_corpus_shards_are_encoded_again_and_nothing_old_remains(tokenizer: str, tmp_path: Path) -> None:
    directory = tmp_path / "tokens"
    write_tokens(SETTINGS, write_texts(tmp_path / "first", TEXTS), tokenizer, str(directory), SerialRunner())
    shorter = write_texts(tmp_path / "second", [TEXTS[0], _texts(1, 40, seed=5)[0]])
    runner = SerialRunner()
    write_tokens(SETTINGS, shorter, tokenizer, str(directory), runner)
    assert runner.executed == ["shard-00001"]
    write_tokens(SETTINGS, shorter, tokenizer, str(tmp_path / "fresh"), SerialRunner())
    assert _contents(directory) == _contents(tmp_path / "fresh")


def test_a_failed_shard_leaves_no_manifest(tokenizer: str, tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "corpus", TEXTS)
    path = tmp_path / "corpus" / "shard-00001.arrow"
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ShardsFailed, match=r"shard-00001: .*shard-00001\.arrow"):
        write_tokens(SETTINGS, corpus, tokenizer, str(tmp_path / "tokens"), SerialRunner())
    with pytest.raises(UserError, match=r"has no tokens\.json"):
        read_tokens_manifest(str(tmp_path / "tokens"))


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


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.lists(st.lists(st.integers(0, 25), max_size=6), min_size=1, max_size=4))
def test_no_shape_of_corpus_loses_a_token(
    corpus: StageDirectory,
    tokenizer: str,
    tmp_path_factory: pytest.TempPathFactory,
    context_length: int,
    shape: list[list[int]],
) -> None:
    folder = tmp_path_factory.mktemp("shape")
    texts = [["sea " * words for words in shard] for shard in shape]
    texts.append([f"dog {number} " * 20 for number in range(8)])
    fields = TokensSettings(context_length=context_length, validation_fraction=0.5)
    manifest = write_tokens(fields, write_texts(folder / "corpus", texts), tokenizer, str(folder / "t"), SerialRunner())
    encoder = load_tokenizer(f"{tokenizer}/tokenizer.json")
    produced = sum(len(encoder.encode(text).ids) + 1 for shard in texts for text in shard)
    assert sum(s["target_tokens"] + s["lost_tokens"] for s in manifest["splits"].values()) == produced
    assert all(split["lost_tokens"] < context_length for split in manifest["splits"].values())
