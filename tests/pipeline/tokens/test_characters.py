"""From texts to rows and back with a vocabulary of characters, some of which are spelled in bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.tokenizer.load import load_tokenizer, token_bytes
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from pipeline.tokens.format import read_tokens_manifest
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.write import write_tokens
from tests.pipeline.corpora import write_texts
from tests.pipeline.runner import SerialRunner
from tests.pipeline.tokens.reading import rows_of

TEXTS = [
    [
        f"The sea shore {number}\n\n  <0x41> größer, 世界 \U0001f468\u200d\U0001f469 <|endoftext|>\0"
        for number in range(30)
    ],
    [f"naïve {chr(0x4E00 + 99 * number)}{chr(0x1F600 + number)} words" for number in range(30)],
]
LONGEST = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("characters")
    corpus, runner = write_texts(folder / "corpus", TEXTS), SerialRunner()
    settings = TokenizerSettings(vocab_size=310, alphabet="characters", alphabet_limit=25)
    train_tokenizer(settings, corpus, str(folder / "tokenizer"), runner)
    fields = TokensSettings(context_length=LONGEST, validation_fraction=0.2, packing="best_fit")
    write_tokens(fields, corpus, str(folder / "tokenizer"), str(folder / "tokens"), runner)
    return folder


def test_every_document_of_the_dataset_is_a_text_of_the_corpus(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder / "tokenizer" / "tokenizer.json"))
    table = token_bytes(tokenizer)
    rows = [row for split in ("train", "validation") for row in rows_of(folder / "tokens", split)]
    found = [targets for row in rows for _, targets in row.pieces()]
    assert max(map(len, found)) < LONGEST
    assert all(targets[-1] == 0 for targets in found)
    texts = sorted(text for shard in TEXTS for text in shard)
    assert sorted(b"".join(table[token] for token in targets).decode() for targets in found) == texts
    assert sorted(tokenizer.decode(list(targets[:-1]), skip_special_tokens=False) for targets in found) == texts
    spelled = {tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in "世".encode()}
    assert spelled <= {token for targets in found for token in targets}


def test_bytes_of_text_are_those_of_the_corpus(folder: Path) -> None:
    splits = read_tokens_manifest(str(folder / "tokens"))["splits"].values()
    assert sum(split["text_bytes"] for split in splits) == sum(len(text.encode()) for shard in TEXTS for text in shard)
    lengths = np.array([len(text) for text in token_bytes(load_tokenizer(str(folder / "tokens" / "tokenizer.json")))])
    assert lengths[4:260].tolist() == [1] * 256
