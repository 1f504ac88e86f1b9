"""A part of `bench.bpe` in a process of its own: `python -m bench.bpe_run SIDE CORPUS SETTINGS_JSON FOLDER`.

SIDE is `counts` (pieces counted by tasks, one after the other, merges from the counts) or `library` (the text given to
`tokenizers`, on one thread); both write FOLDER/tokenizer.json and FOLDER/seconds.json: CPU-seconds without imports and
the loading of compiled code, the library's also without reading the corpus. Or SIDE is the number of workers that count
the pieces under Ray; then the seconds are from the start of the first task to the end of the last.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.in_process import InProcess
from pipeline.engine import Engine
from pipeline.kernels.column import column_of
from pipeline.kernels.compiled import ensure_compiled
from pipeline.shard import StageDirectory
from pipeline.stage import Task
from pipeline.tokenizer import counts, merges, pieces
from pipeline.tokenizer.counting import count_pieces, read_counts
from pipeline.tokenizer.load import one_thread
from pipeline.tokenizer.settings import TokenizerSettings


def main(side: str, corpus: str, settings: str, folder: str) -> None:
    """Train, write the tokenizer and what it took."""
    place = Path(folder)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if side.isdigit():
        _count_under_ray(int(side), TokenizerSettings.model_validate_json(settings), StageDirectory(corpus), place)
        return
    train = _from_counts if side == "counts" else _by_the_library
    content, seconds = train(TokenizerSettings.model_validate_json(settings), StageDirectory(corpus), place)
    (place / "tokenizer.json").write_text(content)
    (place / "seconds.json").write_text(json.dumps(seconds))


def _from_counts(settings: TokenizerSettings, corpus: StageDirectory, folder: Path) -> tuple[str, dict[str, float]]:
    ensure_compiled((*counts.KERNELS, *merges.KERNELS))
    _learn(settings, _few(settings))
    began = time.process_time()
    manifest = count_pieces(settings, corpus, str(folder / "counts"), InProcess())
    counted = time.process_time()
    learned = _learn(settings, read_counts(str(folder / "counts"), manifest))
    ended = time.process_time()
    content = merges.tokenizer_of(learned, pieces.pre_tokenizer_of(settings.pieces)).to_str()
    return content, {"counting": counted - began, "merging": ended - counted, "all": ended - began}


def _few(settings: TokenizerSettings) -> counts.Counts:
    """Counts of one short text, so that all compiled code is loaded."""
    table = counts.PieceTable()
    column = column_of(["a few words, a few words"])
    groups = counts.frozen(np.zeros(1, np.int32))
    table.add_texts(column, groups, *pieces.kernel_arguments(settings.pieces))
    return counts.Counts.from_tables([table.table(["all"])])


def _learn(settings: TokenizerSettings, counted: counts.Counts) -> merges.Merges:
    return merges.train_merges(counted, settings.vocab_size, settings.min_frequency, settings.special_tokens)


def _by_the_library(settings: TokenizerSettings, corpus: StageDirectory, _: Path) -> tuple[str, dict[str, float]]:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    texts = [text for table in corpus.batches() for text in table["text"].to_pylist()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pieces.pre_tokenizer_of(settings.pieces)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        min_frequency=settings.min_frequency,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in settings.special_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    with one_thread():
        began = time.process_time()
        tokenizer.train_from_iterator(texts, trainer)
        ended = time.process_time()
    return tokenizer.to_str(), {"all": ended - began}


class _TimedEngine(Engine):
    """Keeps the time from the start of the first counting task to the end of the last, by their records."""

    span = 0.0

    def map(self, directory: str, label: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """See `Engine.map`."""
        records = super().map(directory, label, tasks)
        if label == "count":
            ends = [Path(directory, f"{task.key}.json").stat().st_mtime for task in tasks]
            self.span = max(ends) - min(end - record["seconds"] for end, record in zip(ends, records, strict=True))
        return records


def _count_under_ray(workers: int, settings: TokenizerSettings, corpus: StageDirectory, folder: Path) -> None:
    engine = _TimedEngine(workers)
    with engine:
        count_pieces(settings, corpus, str(folder), engine)
        (folder / "seconds.json").write_text(json.dumps({"counting": engine.span}))


if __name__ == "__main__":
    main(*sys.argv[1:])
