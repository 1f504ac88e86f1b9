"""No document can stall or break a shard: every per-document stage, with its defaults, on the worst texts we know."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.registry import STAGES, stage_class
from pipeline.shard import documents_table
from pipeline.stage import DocumentStage, Position
from tests.pipeline.dedup.test_text_index import index

CHARACTERS = 400_000
SECONDS = 3.0
"""Far above what any stage takes for linear work, far below what quadratic work takes."""

_random = np.random.default_rng(5)
_alphabet = np.array(list("abcdefghijklmnopqrstuvwxyz     .,;:'@#0123456789-_/()<>{}\n"))

HOSTILE = {
    "empty": "",
    "one line feed": "\n",
    "one letter": "a" * CHARACTERS,
    "one ideograph": "文" * CHARACTERS,
    "one mark": "\u0301" * CHARACTERS,
    "white space": " " * CHARACTERS,
    "line feeds": "\n" * CHARACTERS,
    "full stops": "." * CHARACTERS,
    "digits": "7" * CHARACTERS,
    "digits and spaces": "4 " * (CHARACTERS // 2),
    "digits and hyphens": "12-" * (CHARACTERS // 3),
    "at signs": "a@" * (CHARACTERS // 2),
    "dotted names": "a." * (CHARACTERS // 2),
    "colons": "a:" * (CHARACTERS // 2),
    "addresses that never end": "http://a:" * (CHARACTERS // 9),
    "open tags": "<div>" * (CHARACTERS // 5),
    "open brackets": "([{" * (CHARACTERS // 3),
    "apostrophes": "'s" * (CHARACTERS // 2),
    "one word": "word " * (CHARACTERS // 5),
    "two words": "word other " * (CHARACTERS // 11),
    "one line": "the same line\n" * (CHARACTERS // 14),
    "capitals": "John " * (CHARACTERS // 5),
    "emoji": "👩‍👩‍👧" * (CHARACTERS // 5),
    "right to left marks": "\u202e\u200f" * (CHARACTERS // 2),
    "nul": "\x00" * CHARACTERS,
    "base64": "".join(_random.choice(list("ABCDEFabcdef0123456789+/"), CHARACTERS)),
    "keys on a keyboard": "".join(_random.choice(_alphabet, CHARACTERS)),
    "all of Unicode": "".join(map(chr, _random.integers(0xE000, 0x110000, CHARACTERS // 2))),
    "bytes read as Latin-1": bytes(_random.integers(0, 256, CHARACTERS, np.uint8)).decode("latin-1"),
}


def stages() -> list[str]:
    return [name for name in STAGES if issubclass(stage_class(name), DocumentStage)]


def needed(name: str, folder: Path) -> dict[str, Any]:
    """The fields without which a stage has nothing to do."""
    words, passages = folder / "words.txt", folder / "passages.txt"
    words.write_text("word\njohn\n文文\n")
    passages.write_text("word " * 13 + "\n" + "7 " * 13 + "\n")
    fields: dict[str, Callable[[], dict[str, Any]]] = {
        "keywords": lambda: {"lists": {"all": str(words)}},
        "url_blocklist": lambda: {"lists": [str(words)], "words": ["word"]},
        "decontaminate": lambda: {"sets": {"quiz": {"path": str(passages)}}},
        "known_texts": lambda: {"against": [index(folder)]},
    }
    return fields[name]() if name in fields else {}


def batch_of(document: dict[str, str]) -> pa.Table:
    """A document with the columns of earlier stages that some stages need."""
    table = documents_table([document])
    table = table.append_column("near_duplicate_group_size", pa.array([7]))
    return table.append_column("near_duplicate_of", table["id"])


@pytest.mark.parametrize("name", stages())
def test_a_stage_survives_every_hostile_document_in_linear_time(name: str, tmp_path: Path) -> None:
    stage = stage_class(name).model_validate(needed(name, tmp_path))
    assert isinstance(stage, DocumentStage)
    slow: dict[str, float] = {}
    stage.apply(batch_of({"id": "warm", "text": "A first document.", "source": "hostile"}), Position(0, 0))
    for kind, text in HOSTILE.items():
        document = {"id": kind, "text": text, "source": "hostile", "url": f"http://{text[:10_000]}"}
        table = batch_of(document)
        started = time.process_time()
        outcome = stage.apply(table, Position(0, 0))
        seconds = time.process_time() - started
        assert outcome.documents.num_rows == 1
        assert isinstance(outcome.documents, pa.Table)
        if seconds > SECONDS:
            slow[kind] = round(seconds, 1)
    assert slow == {}
