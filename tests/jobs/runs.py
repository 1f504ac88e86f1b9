"""Builds a small run directory with real sources, stages, tokenizer and tokens, as a finished run leaves it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import corpus
from pipeline.dedup.exact import ExactDedup
from pipeline.filters.language.stage import Language
from pipeline.shard import StageDirectory
from pipeline.sources.jsonl import JsonLines
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.write import write_tokens
from tests.pipeline.runner import SerialRunner

HOSTILE = '<script>alert("x")</script> <img src="https://evil.example/x.png"> \N{RIGHT-TO-LEFT OVERRIDE}\x00 & $x_1$ '
GERMAN = "Dies ist ein ganz gewöhnlicher deutscher Satz über das Wetter und die Bäume vor dem Haus, Nummer {}."
ENGLISH = "The quick brown fox number {} jumps over the lazy dog and then it goes home to sleep for the night."


def documents() -> list[dict[str, Any]]:
    """30 English texts, 5 German ones, 4 copies of one hostile text."""
    texts = [ENGLISH.format(number) for number in range(30)] + [GERMAN.format(number) for number in range(5)]
    texts += [HOSTILE + ENGLISH.format("hostile") * 2] * 4
    return [{"id": f"<b>{number}</b>", "text": text} for number, text in enumerate(texts)]


def write_corpus(run: Path) -> StageDirectory:
    """Read, filter and deduplicate the documents in two shards; two lines are no documents."""
    source = run.parent / "input"
    source.mkdir(parents=True)
    lines = [json.dumps(document) for document in documents()] + ["{broken <i>", '{"title": "no text"}']
    half = len(lines) // 2
    (source / "a.jsonl").write_text("\n".join(lines[:half]))
    (source / "b.jsonl").write_text("\n".join(lines[half:]))
    stages = [Language(keep=("en",), min_score=0.0), ExactDedup()]
    place = str(run / "corpus")
    corpus.build_corpus([JsonLines(path=str(source), name="web")], stages, place, SerialRunner(), 0.5)
    return corpus.open_corpus(place)


def write_tokenizer_and_tokens(run: Path, documents: StageDirectory) -> None:
    """A small vocabulary, compared with the bytes, and rows of 16 tokens."""
    ranks = [f"{b64encode(bytes([value])).decode()} {value}\n" for value in range(256)]
    (run / "bytes.tiktoken").write_text("".join(ranks))
    vocabulary = TokenizerSettings(vocab_size=300, compare={"bytes": str(run / "bytes.tiktoken")})
    train_tokenizer(vocabulary, documents, str(run / "tokenizer"), SerialRunner())
    settings = TokensSettings(context_length=16, validation_fraction=0.3)
    write_tokens(settings, documents, str(run / "tokenizer"), str(run / "tokens"), SerialRunner())


def write_training(
    directory: Path,
    steps: Sequence[int] = (10, 20, 30),
    samples: Sequence[dict[str, Any]] = (),
    finished: bool = True,
) -> None:
    """Metrics, samples and manifest of a training run."""
    directory.mkdir(parents=True)
    lines: list[dict[str, Any]] = []
    for step in steps:
        lines.append({"step": step, "loss": 5.0 - step / 100, "learning_rate": 1e-3, "gradient_norm": 0.5})
        lines.append({"step": step, "validation_loss": 5.1 - step / 100, "bits_per_byte": 2.0 - step / 100})
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (directory / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    if finished:
        (directory / "manifest.json").write_text(json.dumps({"parameters": 1_234_567, "tokens": 89, "shape": {"a": 1}}))
