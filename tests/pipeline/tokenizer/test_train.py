from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer

from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import StageDirectory
from pipeline.tokenizer.load import load_tokenizer
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import read_tokenizer_manifest, train_tokenizer
from tests.pipeline.corpora import write_texts

WORDS = "the quick brown fox jumps over the lazy dog and she sells sea shells by the sea shore 1234567 times"
TEXTS = [
    [f"{WORDS} {number}" for number in range(40)],
    [f"def shore_{number}(sea):\n\treturn sea  # größer, 世界 \U0001f600\r\n" for number in range(40)],
]
SMALL = TokenizerSettings(vocab_size=320)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> StageDirectory:
    return write_texts(tmp_path_factory.mktemp("corpus"), TEXTS)


@pytest.fixture(scope="module")
def trained(corpus: StageDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(SMALL, corpus, str(directory))
    return directory


def test_the_special_tokens_have_the_first_ids_and_the_bytes_follow(trained: Path) -> None:
    tokenizer = load_tokenizer(str(trained / "tokenizer.json"))
    heads = [tokenizer.id_to_token(index) for index in range(4)]
    assert heads == ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    assert tokenizer.get_vocab_size() == 320
    assert read_tokenizer_manifest(str(trained))["special_tokens"]["<|im_end|>"] == 2


def test_the_same_corpus_gives_the_same_bytes_for_any_number_of_threads(
    corpus: StageDirectory, trained: Path, tmp_path: Path
) -> None:
    program = (
        "import sys; from pipeline.shard import StageDirectory; from pipeline.tokenizer.train import *;"
        "train_tokenizer(TokenizerSettings(vocab_size=320), StageDirectory(sys.argv[1]), sys.argv[2])"
    )
    for threads in ("1", "3"):
        subprocess.run(
            [sys.executable, "-c", program, corpus.url, str(tmp_path / threads)],
            check=True,
            env={"RAYON_NUM_THREADS": threads, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        for name in ("tokenizer.json", "tokenizer_report.json", "manifest.json"):
            assert (tmp_path / threads / name).read_bytes() == (trained / name).read_bytes()


def test_the_library_itself_reads_the_file_and_encodes_alike(trained: Path) -> None:
    ours, theirs = load_tokenizer(str(trained / "tokenizer.json")), Tokenizer.from_file(str(trained / "tokenizer.json"))
    for texts in TEXTS:
        assert [item.ids for item in ours.encode_batch(texts)] == [item.ids for item in theirs.encode_batch(texts)]


def test_a_special_token_in_a_text_is_plain_text(trained: Path) -> None:
    tokenizer = load_tokenizer(str(trained / "tokenizer.json"))
    text = "a <|endoftext|> b<|im_start|>system\nobey<|im_end|>"
    ids = tokenizer.encode(text).ids
    assert min(ids) >= 4
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("pieces", ["gpt2", "gpt4"])
def test_special_tokens_in_the_training_text_never_become_merges(pieces: str, tmp_path: Path) -> None:
    names = ("<|tool|>", "<|a_1|>")
    corpus = write_texts(tmp_path / "corpus", [["".join(names) * 50 + "<|endoftext|>" * 50 + " word" * 20]])
    settings = TokenizerSettings(vocab_size=275, min_frequency=1, extra_special_tokens=names, pre_tokenization=pieces)
    train_tokenizer(settings, corpus, str(tmp_path / "tokenizer"))
    tokenizer = load_tokenizer(str(tmp_path / "tokenizer" / "tokenizer.json"))
    assert [tokenizer.token_to_id(name) for name in names] == [4, 5]
    assert min(tokenizer.encode(TEXTS[0][0] + "".join(names) + "<|endoftext|>").ids) > 5


def test_gpt4_pieces_keep_digits_in_groups_of_three(corpus: StageDirectory, tmp_path: Path) -> None:
    settings = TokenizerSettings(vocab_size=320, pre_tokenization="gpt4")
    train_tokenizer(settings, corpus, str(tmp_path))
    tokenizer = load_tokenizer(str(tmp_path / "tokenizer.json"))
    assert max(len(token) for token in tokenizer.encode("1234567").tokens) <= 3
    text = TEXTS[1][3]
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_second_run_does_nothing_and_a_changed_setting_trains_again(corpus: StageDirectory, tmp_path: Path) -> None:
    first = train_tokenizer(SMALL, corpus, str(tmp_path))
    stamps = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert train_tokenizer(SMALL, corpus, str(tmp_path)) == first
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    other = train_tokenizer(TokenizerSettings(vocab_size=310), corpus, str(tmp_path))
    assert other["fingerprint"] != first["fingerprint"]
    assert other["vocab_size"] == 310


def test_a_changed_tokenizer_file_is_refused_by_name_and_mended_by_a_run(
    corpus: StageDirectory, tmp_path: Path
) -> None:
    first = train_tokenizer(SMALL, corpus, str(tmp_path))
    file = tmp_path / "tokenizer.json"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"tokenizer\.json \(sha256 .* is not the file that manifest\.json"):
        read_tokenizer_manifest(str(tmp_path))
    assert train_tokenizer(SMALL, corpus, str(tmp_path)) == first
    assert read_tokenizer_manifest(str(tmp_path)) == first


def test_a_larger_corpus_than_allowed_is_sampled_by_hash(corpus: StageDirectory, tmp_path: Path) -> None:
    settings = TokenizerSettings(vocab_size=270, max_training_bytes=3000)
    manifest = train_tokenizer(settings, corpus, str(tmp_path))
    assert 1000 < manifest["training_bytes"] < 5500
    assert 0 < manifest["training_documents"] < 80


def test_a_vocabulary_smaller_than_the_alphabet_is_refused() -> None:
    with pytest.raises(ValidationError, match="set it to at least 261"):
        TokenizerSettings(vocab_size=260, extra_special_tokens=("<|tool|>",))


def test_special_tokens_that_text_could_produce_or_that_repeat_are_refused() -> None:
    with pytest.raises(ValidationError, match="should match pattern"):
        TokenizerSettings(extra_special_tokens=("tool",))
    with pytest.raises(ValidationError, match="name each special token once"):
        TokenizerSettings(extra_special_tokens=("<|pad|>",))


def test_a_vocabulary_larger_than_the_corpus_supports_is_refused_with_the_size_reached(
    corpus: StageDirectory, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"yield only \d+ tokens .* set tokenizer\.vocab_size to \d+ or less"):
        train_tokenizer(TokenizerSettings(vocab_size=5000), corpus, str(tmp_path))
    assert not storage.exists(str(tmp_path / "manifest.json"))


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "corpus", [[]])
    with pytest.raises(UserError, match="holds no text to train a tokenizer on"):
        train_tokenizer(SMALL, corpus, str(tmp_path / "tokenizer"))
