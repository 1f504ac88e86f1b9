"""Every text must become the very ids that the `tokenizers` library gives."""

from __future__ import annotations

import json
import time
from itertools import pairwise, product
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers, processors

from pipeline.errors import UserError
from pipeline.kernels.column import TextColumn, column_of, text_column
from pipeline.tokenizer import encoder as encoder_module
from pipeline.tokenizer.encoder import Encoder, encoder_of_worker
from pipeline.tokenizer.load import BYTE_TOKENS
from pipeline.tokenizer.settings import Alphabet, PreTokenization
from tests.pipeline.filters.generated_texts import PIECED, pieced_texts
from tests.pipeline.filters.judging import real_texts
from tests.pipeline.tokenizer.tokenizers_for_tests import TEXTS, changed, trained_tokenizer

KINDS = [
    PreTokenization.model_validate({"kind": kind, "digits": digits, "cjk": cjk})
    for kind, digits, cjk in product(("gpt2", "gpt4"), (None, "single", "threes"), (None, "characters", "runs"))
]
NASTY = (
    "'s 'S 'ſ 'K 'll 'LL it's 're we'VE don't \r\n\r\n \n  \t\u00a0 \u2003 x  y   z 1234567 ²³½Ⅷ ٣٤٥ "
    "中文字 カタカナー ひらがな 한국어 ภาษาไทย हिन्दी e\u0301\u0327 \u200d \ufeff "
    "\U0001f468\u200d\U0001f469 \U0001f1e9\U0001f1ea \x00\x01\x7f\u0085\u2028 \ue000 \U0010ffff ---===___ "
    "<|endoftext|> <|im_start|>a<|im_end|>\n"
)
CHARACTERS = list("ab \0\n\x7f\u0080\u07ffé中世界\ufffd\uffff\U00010000\U0001f600\U0010ffff'0")


@pytest.fixture(scope="module", params=product(("gpt2", "gpt4"), get_args(Alphabet)), ids=" with ".join)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    kind, alphabet = request.param
    return Encoder.from_tokenizer(trained_tokenizer(PreTokenization(kind=kind), alphabet=alphabet))


def encoded(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    found = encoder.encode(column_of(texts))
    assert found.starts[0] == 0
    assert found.starts[-1] == len(found.ids)
    assert found.ids.dtype == encoder.dtype
    return [found.ids[start:end].tolist() for start, end in pairwise(found.starts.tolist())]


def expected(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    return [item.ids for item in encoder.tokenizer.encode_batch(texts, add_special_tokens=False)]


@given(st.lists(st.text() | PIECED, max_size=4))
def test_any_text_has_the_library_s_ids(encoder: Encoder, texts: list[str]) -> None:
    assert encoder.why_not_compiled is None
    assert encoded(encoder, texts) == expected(encoder, texts)


@pytest.mark.parametrize("alphabet", get_args(Alphabet))
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_pre_tokenization_of_a_recipe_is_compiled(kind: PreTokenization, alphabet: Alphabet) -> None:
    encoder = Encoder.from_tokenizer(trained_tokenizer(kind, alphabet=alphabet))
    assert encoder.why_not_compiled is None
    texts = [*TEXTS, NASTY, NASTY[::-1], *pieced_texts(300, seed=2)]
    assert encoded(encoder, texts) == expected(encoder, texts)


def test_thousands_of_texts_have_the_library_s_ids(encoder: Encoder) -> None:
    texts = [*pieced_texts(3000, seed=1), *real_texts(500)]
    assert encoded(encoder, texts) == expected(encoder, texts)


def test_special_tokens_in_a_text_are_plain_text(encoder: Encoder) -> None:
    special = set(encoder.tokenizer.get_added_tokens_decoder())
    (ids,) = encoded(encoder, ["a <|endoftext|> b<|im_start|>system\nobey<|im_end|><|pad|>"])
    assert special
    assert not special & set(ids)


def test_empty_texts_and_empty_columns_have_no_tokens(encoder: Encoder) -> None:
    assert encoded(encoder, []) == []
    assert encoded(encoder, ["", "", ""]) == [[], [], []]
    assert encoded(encoder, ["", "a", ""])[::2] == [[], []]


def test_a_part_of_a_column_is_encoded_as_the_texts_it_holds(encoder: Encoder) -> None:
    texts = [*TEXTS, "", NASTY, "the end"]
    found = encoder.encode(text_column(pa.array(texts, pa.large_string()).slice(1, 3)))
    assert [found.ids[start:end].tolist() for start, end in pairwise(found.starts.tolist())] == expected(
        encoder, texts[1:4]
    )


def test_what_an_encoder_remembers_changes_nothing(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "SHORT_PIECES", 8)
    monkeypatch.setattr(encoder_module, "LONG_PIECES", 4)
    monkeypatch.setattr(encoder_module, "LONG_BYTES", 100)
    forgetful = Encoder.from_tokenizer(encoder.tokenizer.to_str().encode())
    texts = [*pieced_texts(200, seed=3), *TEXTS, "ünïcödé" * 40, "1" * 255, "2" * 256, "x" * 5000]
    wanted = expected(encoder, texts)
    for _ in range(2):
        assert encoded(forgetful, texts) == wanted
        assert encoded(forgetful, texts[::-1]) == wanted[::-1]


@given(st.integers(1, 300), st.sampled_from(["a", "é", "世", "\U0001f600", "ab", "9", "_", " "]))
def test_pieces_of_every_length_have_the_library_s_ids(encoder: Encoder, length: int, unit: str) -> None:
    texts = [unit * length, "-" + unit * length + "-"]
    assert encoded(encoder, texts) == encoded(encoder, texts) == expected(encoder, texts)


def test_pieces_that_differ_only_in_zero_bytes_are_told_apart(encoder: Encoder) -> None:
    texts = ["\0" * length for length in (1, 2, 3, 7, 8, 9, 14, 15, 16, 17)] * 2
    assert encoded(encoder, texts) == expected(encoder, texts)


def test_what_only_concerns_offsets_and_added_tokens_is_no_matter() -> None:
    content = trained_tokenizer(PreTokenization(kind="gpt4"))
    before = json.loads(content)["pre_tokenizer"]
    steps = [{**step, "trim_offsets": False} if "trim_offsets" in step else step for step in before["pretokenizers"]]
    offsets = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    frame = json.loads(
        processors.TemplateProcessing(single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]).__getstate__()
    )
    for processor in (offsets, frame):
        other = changed(content, pre_tokenizer={**before, "pretokenizers": steps}, post_processor=processor)
        encoder = Encoder.from_tokenizer(other)
        assert encoder.why_not_compiled is None
        assert encoded(encoder, [*TEXTS, NASTY]) == expected(encoder, [*TEXTS, NASTY])


def test_the_form_of_the_gpt2_file_that_everybody_has_is_compiled() -> None:
    before = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    encoder = Encoder.from_tokenizer(changed(trained_tokenizer(), pre_tokenizer=before))
    assert encoder.why_not_compiled is None
    prefixed = Encoder.from_tokenizer(changed(trained_tokenizer(), pre_tokenizer={**before, "add_prefix_space": True}))
    assert prefixed.why_not_compiled is not None
    assert encoded(prefixed, TEXTS) == expected(prefixed, TEXTS) != encoded(encoder, TEXTS)


@given(st.sets(st.sampled_from(CHARACTERS)), st.lists(st.text(st.sampled_from(CHARACTERS), max_size=200), max_size=4))
def test_characters_that_are_no_tokens_are_spelled_in_bytes(known: set[str], texts: list[str]) -> None:
    tokens = [*BYTE_TOKENS, *sorted(known), *sorted(a + b for a in known for b in known)]
    merges = [[a, b] for a in sorted(known) for b in sorted(known)][::-1]
    # Bytes are merged too where the file says so, with each other and with characters.
    merges += [["<0xE4>", "<0xB8>"], *(["<0x80>", character] for character in sorted(known))]
    tokens += ["".join(merge) for merge in merges if merge[0] in BYTE_TOKENS]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    content = trained_tokenizer(alphabet="characters", vocab_size=300)
    encoder = Encoder.from_tokenizer(changed(content, {"vocab": vocabulary, "merges": merges}, added_tokens=[]))
    assert encoder.why_not_compiled is None
    assert encoded(encoder, texts) == expected(encoder, texts)


@pytest.mark.parametrize("alphabet", get_args(Alphabet))
def test_pieces_that_are_tokens_are_looked_up_whole_where_the_file_says_so(alphabet: Alphabet) -> None:
    content = trained_tokenizer(alphabet=alphabet)
    file = json.loads(content)
    # Without the merges that make them, only looking up whole pieces finds the longer tokens.
    merges = file["model"]["merges"][:20]
    for ignore_merges in (False, True):
        encoder = Encoder.from_tokenizer(changed(content, {"merges": merges, "ignore_merges": ignore_merges}))
        assert encoder.why_not_compiled is None
        texts = [*TEXTS, NASTY]
        assert encoded(encoder, texts) == encoded(encoder, texts) == expected(encoder, texts)


def test_merges_written_as_strings_and_a_large_vocabulary_are_read() -> None:
    content = trained_tokenizer()
    model = json.loads(content)["model"]
    merges = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"])]
    vocabulary = {**model["vocab"], **{f"<|{number}|>": number for number in range(len(model["vocab"]), 70_000)}}
    encoder = Encoder.from_tokenizer(changed(content, {"merges": merges, "vocab": vocabulary}))
    assert encoder.why_not_compiled is None
    assert encoder.dtype == np.uint32
    assert encoded(encoder, TEXTS) == expected(encoder, TEXTS)
    assert Encoder.from_tokenizer(content).dtype == np.uint16


def _unknown() -> dict[str, bytes]:
    """A tokenizer.json for each reason why it is not compiled."""
    content = trained_tokenizer()
    file = json.loads(content)
    vocabulary = file["model"]["vocab"]
    added = {**file["added_tokens"][0], "id": vocabulary["!"], "content": "!", "special": False}
    lowercase = json.loads(normalizers.Lowercase().__getstate__())
    truncation = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    spaces = {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True}
    without = {token: index for token, index in vocabulary.items() if token != "~"}
    characters = trained_tokenizer(alphabet="characters")
    spelled = json.loads(characters)["model"]["vocab"]
    incomplete = {token: index for token, index in spelled.items() if token not in ("<0x00>", "<0xF4>")}
    words = {"type": "WordLevel", "vocab": {"Hello": 0, "?": 1}, "unk_token": "?"}
    return {
        "it has a normalizer": changed(content, normalizer=lowercase),
        "it has a truncation": changed(content, truncation=truncation),
        "the added token '!' is not special": changed(content, added_tokens=[*file["added_tokens"], added]),
        "its pre-tokenizer is none of those": changed(content, pre_tokenizer=spaces),
        "its model has dropout": changed(content, {"dropout": 1.0}),
        "1 of the 256 bytes are no tokens": changed(content, {"vocab": without}),
        "its model is WordLevel": json.dumps({**file, "model": words}).encode(),
        "its model has no byte_fallback": changed(characters, {"byte_fallback": False}),
        "2 of the 256 bytes are no tokens": changed(characters, {"vocab": incomplete}),
    }


@pytest.mark.parametrize("reason", _unknown())
def test_other_tokenizers_are_left_to_the_library_and_the_reason_is_told(reason: str) -> None:
    encoder = Encoder.from_tokenizer(_unknown()[reason])
    assert reason in (encoder.why_not_compiled or "")
    texts = [*TEXTS, "", "Hello!"]
    assert encoded(encoder, texts) == expected(encoder, texts)


def test_a_changed_file_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("encoder") / "tokenizer.json"
    path.write_bytes(trained_tokenizer())
    with pytest.raises(UserError, match=r"was changed \(sha256"):
        encoder_of_worker(str(path), "0" * 64)
    with pytest.raises(UserError, match="is no tokenizer"):
        Encoder.from_tokenizer(b"{")


def test_a_text_of_two_gibibytes_is_refused(encoder: Encoder) -> None:
    offsets = np.array([0, 1, 1 << 31], np.int64)
    with pytest.raises(UserError, match="text 1 of the batch has 2 GiB or more"):
        encoder.encode(TextColumn(np.zeros(1, np.uint8), offsets + np.array([0, 0, 1])))


@pytest.mark.timeout(300, func_only=True)  # on a new machine kernels are compiled before
def test_a_megabyte_without_a_space_takes_about_as_long_as_its_parts(encoder: Encoder) -> None:
    random = np.random.default_rng(4)
    text = "".join(random.choice(list("thequickbrownfox"), 1 << 20).tolist())
    parts = [text[start : start + 2048] for start in range(0, len(text), 2048)]
    encoded(encoder, parts[:2])
    seconds = []
    for texts in (parts, [text]):
        started = time.process_time()
        found = encoded(encoder, texts)
        seconds.append(time.process_time() - started)
    assert found == expected(encoder, [text])
    assert seconds[1] < 8 * seconds[0]
