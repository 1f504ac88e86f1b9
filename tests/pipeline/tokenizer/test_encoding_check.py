from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.kernels.column import column_of
from pipeline.tokenizer.encoder import Encoded, Encoder
from pipeline.tokenizer.encoding_check import LONGEST, ONE_IN, EncodingCheck
from tests.pipeline.tokenizer.tokenizers_for_tests import TEXTS, changed, trained_tokenizer


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.from_tokenizer(trained_tokenizer())


def names(count: int) -> pa.ChunkedArray:
    return pa.chunked_array([[f"test/{number}" for number in range(count)]], pa.string())


def test_the_first_text_of_a_shard_and_some_of_the_others_are_compared(encoder: Encoder) -> None:
    check = EncodingCheck(encoder, "shard-00003.arrow")
    for texts in (["", *TEXTS], ["a few words"] * (20 * ONE_IN), TEXTS):
        column = column_of(texts)
        check.look_at(column, encoder.encode(column), names(len(texts)))
    assert 10 < check.documents < 40


def test_which_texts_are_compared_hangs_on_their_place_in_the_shard_alone(encoder: Encoder) -> None:
    texts = ["a few words"] * (4 * ONE_IN)
    counts = []
    for size in (len(texts), 1000):
        check = EncodingCheck(encoder, "shard-00003.arrow")
        for start in range(0, len(texts), size):
            column = column_of(texts[start : start + size])
            check.look_at(column, encoder.encode(column), names(len(column)))
        counts.append(check.documents)
    assert counts[0] == counts[1] > 1


def test_one_other_token_fails_the_shard_and_is_named_with_its_document(encoder: Encoder) -> None:
    column = column_of(["", "the quick brown fox", "more"])
    good = encoder.encode(column)
    bad = good.ids.copy()
    bad[2] += 1
    with pytest.raises(RuntimeError, match=r"shard-00003\.arrow: document test/1 .* from token 2 on"):
        EncodingCheck(encoder, "shard-00003.arrow").look_at(column, Encoded(bad, good.starts), names(3))
    short = Encoded(good.ids, np.array([0, 0, good.starts[2] - 1, good.starts[3]]))
    with pytest.raises(RuntimeError, match=rf"document test/1 .* from token {good.starts[2] - 1} on"):
        EncodingCheck(encoder, "shard-00003.arrow").look_at(column, short, names(3))


def test_of_a_long_text_the_head_is_compared(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "世界" * LONGEST
    column = column_of([text])
    good = encoder.encode(column)
    seen: list[str] = []
    library = encoder.tokenizer

    class Spy:
        def encode(self, text: str, add_special_tokens: bool) -> object:
            seen.append(text)
            return library.encode(text, add_special_tokens=add_special_tokens)

    monkeypatch.setattr(encoder, "tokenizer", Spy())
    EncodingCheck(encoder, "shard").look_at(column, good, names(1))
    assert seen == [text[: LONGEST // 3]]


def test_kernels_that_take_a_tokenizer_for_another_fail_the_shard(encoder: Encoder) -> None:
    ignoring = Encoder.from_tokenizer(changed(trained_tokenizer(), {"merges": []}))
    ignoring.tokenizer = encoder.tokenizer
    column = column_of(TEXTS)
    with pytest.raises(RuntimeError, match="document test/0 is encoded otherwise than by the tokenizers library"):
        EncodingCheck(ignoring, "shard").look_at(column, ignoring.encode(column), names(len(TEXTS)))


def test_what_the_library_encodes_is_not_compared_with_itself(encoder: Encoder) -> None:
    library = Encoder.from_tokenizer(changed(trained_tokenizer(), {"dropout": 1.0}))
    column = column_of(TEXTS)
    check = EncodingCheck(library, "shard")
    check.look_at(column, library.encode(column), names(len(TEXTS)))
    assert check.documents == 0
