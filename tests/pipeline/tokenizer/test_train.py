from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError
from tokenizers import AddedToken, Tokenizer

from pipeline import storage
from pipeline.engine import Engine
from pipeline.errors import UserError
from pipeline.shard import StageDirectory
from pipeline.tokenizer.load import BYTE_TOKENS, load_tokenizer
from pipeline.tokenizer.settings import Alphabet, Sampling, TokenizerSettings
from pipeline.tokenizer.train import read_tokenizer_manifest, train_tokenizer
from tests.pipeline.corpora import write_corpus, write_texts
from tests.pipeline.runner import SerialRunner
from tests.pipeline.tokenizer.tokenizers_for_tests import trained_by_the_library

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
    train_tokenizer(SMALL, corpus, str(directory), SerialRunner())
    return directory


def test_the_special_tokens_have_the_first_ids_and_the_bytes_follow(trained: Path) -> None:
    tokenizer = load_tokenizer(str(trained / "tokenizer.json"))
    heads = [tokenizer.id_to_token(index) for index in range(4)]
    assert heads == ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    assert tokenizer.get_vocab_size() == 320
    assert read_tokenizer_manifest(str(trained))["special_tokens"]["<|im_end|>"] == 2


def outputs(folder: Path) -> dict[str, bytes]:
    """All files but the records of the tasks, in which there are seconds."""
    tables = [folder / "counts" / "counts.json", *(folder / "counts").glob("*.arrow")]
    return {path.name: path.read_bytes() for path in [*tables, *(path for path in folder.iterdir() if path.is_file())]}


def test_the_same_corpus_gives_the_same_bytes_in_any_order_of_tasks(
    corpus: StageDirectory, trained: Path, tmp_path: Path
) -> None:
    train_tokenizer(SMALL, corpus, str(tmp_path), SerialRunner(order=lambda tasks: tasks[::-1]))
    assert outputs(tmp_path) == outputs(trained)


def test_two_workers_make_the_same_bytes_as_one_process(corpus: StageDirectory, trained: Path, tmp_path: Path) -> None:
    with Engine(workers=2) as engine:
        train_tokenizer(SMALL, corpus, str(tmp_path), engine)
    assert outputs(tmp_path) == outputs(trained)


def test_a_run_killed_before_its_end_continues_with_what_is_counted(
    corpus: StageDirectory, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.tokenizer.train.tokenizer_report", killed)
        with pytest.raises(KeyboardInterrupt):
            train_tokenizer(SMALL, corpus, str(tmp_path), SerialRunner())
    with pytest.raises(UserError, match=r"has no manifest\.json: the tokenizer step is not finished"):
        read_tokenizer_manifest(str(tmp_path))
    runner = SerialRunner()
    train_tokenizer(SMALL, corpus, str(tmp_path), runner)
    assert runner.executed == ["report-00000", "report-00001"]
    assert outputs(tmp_path) == outputs(trained)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "tokenizer_report.json"])
def test_a_lost_file_comes_back(corpus: StageDirectory, trained: Path, tmp_path: Path, file: str) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "tokenizer"))
    (copy / file).unlink()
    runner = SerialRunner()
    train_tokenizer(SMALL, corpus, str(copy), runner)
    assert not [key for key in runner.executed if not key.startswith("report-")]
    assert outputs(copy) == outputs(trained)


VARIANTS: list[dict[str, Any]] = [
    {"pre_tokenization": "gpt4", "min_frequency": 1},
    {"digits": "single", "cjk": "characters", "extra_special_tokens": ("<|tool|>",), "reserved_tokens": 2},
    {"pre_tokenization": "gpt4", "digits": "threes", "cjk": "runs", "max_token_length": 5},
    {"alphabet": "characters", "extra_special_tokens": ("<|tool|>",), "reserved_tokens": 2},
    {"alphabet": "characters", "alphabet_limit": 22, "vocab_size": 300, "pre_tokenization": "gpt4", "cjk": "runs"},
    {"alphabet": "characters", "vocab_size": 350, "max_token_length": 5, "digits": "single"},
]


@pytest.mark.parametrize("fields", [{}, *VARIANTS], ids=str)
def test_the_tokenizer_is_the_one_the_library_trains_on_the_same_text(
    fields: dict[str, Any], corpus: StageDirectory, tmp_path: Path
) -> None:
    settings = TokenizerSettings.model_validate({"vocab_size": 330, **fields})
    train_tokenizer(settings, corpus, str(tmp_path), SerialRunner())
    ours = json.loads((tmp_path / "tokenizer.json").read_text())

    limits: dict[str, Any] = {
        "max_token_length": settings.max_token_length,
        "limit_alphabet": settings.alphabet_limit,
    }
    named = [AddedToken(name, special=True, normalized=False) for name in settings.special_tokens + settings.reserved]
    theirs = trained_by_the_library(
        [text for texts in TEXTS for text in texts],
        settings.pieces,
        named,
        settings.alphabet,
        vocab_size=settings.vocab_size,
        min_frequency=settings.min_frequency,
        **{name: value for name, value in limits.items() if value is not None},
    )
    assert ours == json.loads(theirs)


def test_characters_outside_the_alphabet_are_spelled_and_what_looks_like_a_byte_token_is_text(tmp_path: Path) -> None:
    texts = ["<0x41> is no byte, <0x0A> neither. " * 40, "größer, 世界 \U0001f600 " * 3 + "\0"]
    corpus = write_texts(tmp_path / "corpus", [texts])
    fields = {"alphabet": "characters", "alphabet_limit": 20, "vocab_size": 290}
    for pieces in ("gpt2", "gpt4"):
        settings = TokenizerSettings.model_validate({**fields, "pre_tokenization": pieces})
        train_tokenizer(settings, corpus, str(tmp_path / "tokenizer"), SerialRunner())
        tokenizer = load_tokenizer(str(tmp_path / "tokenizer" / "tokenizer.json"))
        for text in (*texts, "<0xFF><0x00>龘"):
            found = tokenizer.encode(text)
            assert tokenizer.decode(found.ids, skip_special_tokens=False) == text
        assert set(tokenizer.encode("<0x41> is").ids).isdisjoint(tokenizer.token_to_id(name) for name in BYTE_TOKENS)
        assert tokenizer.encode("龘").tokens == ["<0xE9>", "<0xBE>", "<0x98>"]
        report = json.loads((tmp_path / "tokenizer" / "tokenizer_report.json").read_text())
        assert report["round_trip"] == {"documents": 2, "failures": 0}


def test_more_characters_than_the_vocabulary_has_room_for_are_refused(corpus: StageDirectory, tmp_path: Path) -> None:
    settings = TokenizerSettings(vocab_size=310, alphabet="characters")
    with pytest.raises(UserError, match=r"51 different characters, .* more than 311, or .*alphabet_limit to 50 or"):
        train_tokenizer(settings, corpus, str(tmp_path), SerialRunner())


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
    fields = {"vocab_size": 275, "min_frequency": 1, "extra_special_tokens": names, "pre_tokenization": pieces}
    settings = TokenizerSettings.model_validate(fields)
    train_tokenizer(settings, corpus, str(tmp_path / "tokenizer"), SerialRunner())
    tokenizer = load_tokenizer(str(tmp_path / "tokenizer" / "tokenizer.json"))
    assert [tokenizer.token_to_id(name) for name in names] == [4, 5]
    assert min(tokenizer.encode(TEXTS[0][0] + "".join(names) + "<|endoftext|>").ids) > 5


def test_gpt4_pieces_keep_digits_in_groups_of_three(corpus: StageDirectory, tmp_path: Path) -> None:
    settings = TokenizerSettings(vocab_size=320, pre_tokenization="gpt4")
    train_tokenizer(settings, corpus, str(tmp_path), SerialRunner())
    tokenizer = load_tokenizer(str(tmp_path / "tokenizer.json"))
    assert max(len(token) for token in tokenizer.encode("1234567").tokens) <= 3
    text = TEXTS[1][3]
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_second_run_does_nothing_and_a_changed_setting_trains_again(corpus: StageDirectory, tmp_path: Path) -> None:
    first = train_tokenizer(SMALL, corpus, str(tmp_path), SerialRunner())
    stamps = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert train_tokenizer(SMALL, corpus, str(tmp_path), SerialRunner()) == first
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == stamps
    other = train_tokenizer(TokenizerSettings(vocab_size=310), corpus, str(tmp_path), SerialRunner())
    assert other["fingerprint"] != first["fingerprint"]
    assert other["vocab_size"] == 310


def test_a_changed_tokenizer_file_is_refused_by_name_and_mended_by_a_run(
    corpus: StageDirectory, tmp_path: Path
) -> None:
    first = train_tokenizer(SMALL, corpus, str(tmp_path), SerialRunner())
    file = tmp_path / "tokenizer.json"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"tokenizer\.json \(sha256 .* is not the file that manifest\.json"):
        read_tokenizer_manifest(str(tmp_path))
    assert train_tokenizer(SMALL, corpus, str(tmp_path), SerialRunner()) == first
    assert read_tokenizer_manifest(str(tmp_path)) == first


def test_a_larger_corpus_than_allowed_is_sampled_by_hash(corpus: StageDirectory, tmp_path: Path) -> None:
    settings = TokenizerSettings(vocab_size=270, max_training_bytes=3000)
    training = train_tokenizer(settings, corpus, str(tmp_path), SerialRunner())["training"]
    assert 1000 < training["text_bytes"] < 5500
    assert 0 < training["documents"] < 80


def test_reserved_ids_follow_the_special_ones_and_no_text_is_encoded_as_them(
    corpus: StageDirectory, tmp_path: Path
) -> None:
    settings = TokenizerSettings(vocab_size=300, extra_special_tokens=("<|tool|>",), reserved_tokens=3)
    manifest = train_tokenizer(settings, corpus, str(tmp_path), SerialRunner())
    assert manifest["special_tokens"]["<|tool|>"] == 4
    assert manifest["reserved_tokens"] == {"<|reserved_0|>": 5, "<|reserved_1|>": 6, "<|reserved_2|>": 7}
    tokenizer = load_tokenizer(str(tmp_path / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 300
    assert min(tokenizer.encode("a <|reserved_1|> b").ids) > 7


def test_sampling_by_language_gives_small_languages_merges(tmp_path: Path) -> None:
    english = {"text": " ".join(f"the {number} quick brown foxes" for number in range(200)), "language": "en"}
    german = {"text": "größere Wälder " * 3, "language": "de"}
    corpus = write_corpus(tmp_path / "corpus", [[english], [german]])
    lengths = []
    for sampling in (None, Sampling(by="language", temperature=0)):
        settings = TokenizerSettings(vocab_size=300, sampling=sampling)
        train_tokenizer(settings, corpus, str(tmp_path / "tokenizer"), SerialRunner())
        tokenizer = load_tokenizer(str(tmp_path / "tokenizer" / "tokenizer.json"))
        lengths.append(len(tokenizer.encode(german["text"]).ids))
    assert lengths[1] < lengths[0] / 2


@pytest.mark.parametrize("alphabet", get_args(Alphabet))
def test_transformers_opens_the_folder(alphabet: Alphabet, corpus: StageDirectory, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    train_tokenizer(TokenizerSettings(vocab_size=320, alphabet=alphabet), corpus, str(tmp_path), SerialRunner())
    opened, ours = (
        transformers.AutoTokenizer.from_pretrained(str(tmp_path)),
        load_tokenizer(str(tmp_path / "tokenizer.json")),
    )
    for text in [*TEXTS[0], *TEXTS[1], " It's  2024,\n\nNow . "]:
        assert opened(text)["input_ids"] == ours.encode(text).ids
        assert opened.decode(ours.encode(text).ids) == text
    assert (opened.eos_token_id, opened.pad_token_id) == (0, 3)
    assert set(opened.all_special_tokens) == {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"}


def test_the_file_for_transformers_names_tokens_that_exist(trained: Path) -> None:
    tokenizer = load_tokenizer(str(trained / "tokenizer.json"))
    config = json.loads((trained / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    names = [config["bos_token"], config["eos_token"], config["pad_token"], *config["additional_special_tokens"]]
    assert [tokenizer.token_to_id(name) for name in names] == [0, 0, 3, 1, 2]


def test_a_vocabulary_smaller_than_the_alphabet_is_refused() -> None:
    with pytest.raises(ValidationError, match="set it to at least 261"):
        TokenizerSettings(vocab_size=260, extra_special_tokens=("<|tool|>",))
    with pytest.raises(ValidationError, match=r"14 special tokens \(10 of them reserved\): set it to at least 270"):
        TokenizerSettings(vocab_size=265, reserved_tokens=10)


def test_a_limit_of_characters_belongs_to_an_alphabet_of_characters_and_needs_room() -> None:
    with pytest.raises(ValidationError, match="set alphabet to characters too"):
        TokenizerSettings(alphabet_limit=100)
    with pytest.raises(ValidationError, match=r"256 bytes, 100 characters and 4 special tokens: .* at least 360"):
        TokenizerSettings(alphabet="characters", alphabet_limit=100, vocab_size=359)


def test_special_tokens_that_text_could_produce_or_that_repeat_are_refused() -> None:
    with pytest.raises(ValidationError, match="should match pattern"):
        TokenizerSettings(extra_special_tokens=("tool",))
    with pytest.raises(ValidationError, match="should match pattern"):
        TokenizerSettings(extra_special_tokens=("<|_|>",))  # nothing but signs: one piece, which merges could make
    with pytest.raises(ValidationError, match="name each special token once"):
        TokenizerSettings(extra_special_tokens=("<|pad|>",))
    with pytest.raises(ValidationError, match=r"repeats <\|reserved_1\|>: name each special token once"):
        TokenizerSettings(extra_special_tokens=("<|reserved_1|>",), reserved_tokens=2)


def test_a_vocabulary_larger_than_the_corpus_supports_is_refused_with_the_size_reached(
    corpus: StageDirectory, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"yield only \d+ tokens .* set tokenizer\.vocab_size to \d+ or less"):
        train_tokenizer(TokenizerSettings(vocab_size=5000), corpus, str(tmp_path), SerialRunner())
    assert not storage.exists(str(tmp_path / "manifest.json"))


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "corpus", [[]])
    with pytest.raises(UserError, match="holds no text to train a tokenizer on"):
        train_tokenizer(SMALL, corpus, str(tmp_path / "tokenizer"), SerialRunner())
