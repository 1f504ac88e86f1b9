"""Exact substring deduplication: speed end to end, memory against input size, and spans against a dictionary of all.

    python -m bench.substring [--data PATH] [--megabytes N]

Speed: JSON Lines in, what is kept out, with all files and records of a run, one task after the other in one process
(Ray's start costs five CPU-seconds whatever the input); MB of text a CPU-second of the whole process, its start and
imports included, compiling not; and of what the larger input has more, which is the speed without the start. The
default settings but for shards and partitions, which are small so that memory can show: some 2.5 MB and 4 MiB.

Memory: the largest PSS at 20 MB and at three times as much, the same shards and partitions.

Spans: over some 3 MB, all runs of 50 and of 12 tokens are put into a Python dictionary by their very words; a token is
to go when a run it is in stood before without overlap. Every maximal span of those must be found, and no other.

Documents are those of the data in order; where they are too few, they come again with their words shuffled.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.documents import Documents, given_documents, python_documents
from bench.harness import CACHE, Claim, data_folder, measure
from bench.in_process import InProcess
from pipeline.corpus import build_corpus, open_corpus
from pipeline.dedup.substring import RemoveSubstrings, SubstringDedup
from pipeline.dedup.substring_search import read_removals, removals_content
from pipeline.kernels.column import text_column
from pipeline.kernels.compiled import ensure_compiled
from pipeline.kernels.words import split_words
from pipeline.shard import StageDirectory, read_batches
from pipeline.sources.jsonl import JsonLines

RUNS = CACHE / "runs" / "substring"
SHARD_BYTES = 2_500_000
PARTITION_BYTES = 4 << 20
GROWTH = 3
CHECKED_BYTES = 3_000_000
CHECKED_TOKENS = (50, 12)

Span = tuple[int, int, int, int]
"""Shard, row, first token, tokens."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0 when its goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.substring", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", default=data_folder("corpus"), help="file or folder of documents (default: documentation)"
    )
    parser.add_argument("--megabytes", type=int, default=20, help="text of the smaller input (default 20)")
    parser.add_argument("--once", nargs=2, metavar=("INPUT", "RUN"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.once:
        source, run = given.once
        build_corpus([JsonLines(path=source)], [SubstringDedup(partition_bytes=PARTITION_BYTES)], run, InProcess(), 0.0)
        return 0
    documents = given_documents(given.data) if given.data else python_documents()
    shutil.rmtree(RUNS, ignore_errors=True)
    ensure_compiled(SubstringDedup.kernels)
    claim = Claim("substring")
    _measure(claim, documents, given.megabytes * 1_000_000)
    _compare(claim, documents)
    return claim.finish()


def _measure(claim: Claim, documents: Documents, smaller: int) -> None:
    peaks, texts, seconds = [], [], []
    for factor in (1, GROWTH):
        source, run = RUNS / f"input-{factor}", RUNS / f"run-{factor}"
        written = _write(source, documents, smaller * factor)
        command = [sys.executable, "-m", "bench.substring", "--once", str(source), str(run)]
        measured = measure(command, {"OMP_NUM_THREADS": "1"})
        peaks.append(measured.peak_pss_bytes)
        texts.append(written)
        seconds.append(measured.cpu_seconds)
        size = f"{written / 1e6:.0f}_MB"
        claim.figure(f"megabytes_per_cpu_second_of_{size}", written / 1e6 / measured.cpu_seconds, "MB")
        claim.figure(f"peak_memory_of_{size}", measured.peak_pss_bytes / 1e6, "MB")
        kept = sum(shard.text_bytes for shard in open_corpus(str(run)).shards)
        claim.figure(f"text_removed_of_{size}", 1 - kept / written)
    further = (texts[1] - texts[0]) / 1e6 / (seconds[1] - seconds[0])
    claim.figure("megabytes_per_cpu_second_without_start", further, "MB")
    claim.figure("peak_memory_when_the_input_grows_threefold", peaks[1] / peaks[0])
    claim.goal("peak_memory_when_the_input_grows_threefold", at_most=1.15)


def _compare(claim: Claim, documents: Documents) -> None:
    source, run = RUNS / "input-checked", RUNS / "run-checked"
    written = _write(source, documents, CHECKED_BYTES)
    claim.figure("text_compared_with_a_dictionary", written / 1e6, "MB")
    build_corpus([JsonLines(path=str(source))], [], str(run), InProcess(), 0.0)
    corpus = open_corpus(str(run))
    for size in CHECKED_TOKENS:
        found, expected = _found(corpus, size), _reference(corpus, size)
        claim.figure(f"spans_of_{size}_tokens_in_the_dictionary", len(expected))
        claim.figure(f"spans_of_{size}_tokens_that_differ", len(found ^ expected))
        claim.goal(f"spans_of_{size}_tokens_that_differ", at_most=0)


def _found(corpus: StageDirectory, size: int) -> set[Span]:
    folder = str(RUNS / f"survey-{size}")
    stage = SubstringDedup(tokens=size, partition_bytes=1 << 20).survey(corpus, folder, InProcess())
    assert isinstance(stage, RemoveSubstrings)
    spans = set()
    for shard in range(len(corpus.shards)):
        rows = read_removals(stage.directory, shard, removals_content(stage.name, stage.stamp, shard))
        spans |= {(shard, row["row"], row["token"], row["tokens"]) for row in rows.to_pylist()}
    return spans


def _reference(corpus: StageDirectory, size: int) -> set[Span]:
    """Maximal spans of windows that stood before, by a dictionary of the windows' words."""
    first: dict[tuple[bytes, ...], tuple[int, int, int]] = {}
    spans: set[Span] = set()
    for shard, row, words in _words(corpus):
        gone = [False] * (len(words) + 1)
        for place in range(len(words) - size + 1):
            original = first.setdefault(tuple(words[place : place + size]), (shard, row, place))
            if original[:2] != (shard, row) or original[2] + size <= place:
                gone[place : place + size] = [True] * size
        begin = 0
        for place, goes in enumerate(gone):
            if not goes:
                if begin < place:
                    spans.add((shard, row, begin, place - begin))
                begin = place + 1
    return spans


def _words(corpus: StageDirectory) -> Iterator[tuple[int, int, list[bytes]]]:
    for index, shard in enumerate(corpus.shards):
        row = 0
        for batch in read_batches(corpus.path(shard)):
            column = text_column(batch["text"])
            tokens = split_words(column, "unicode")
            content = column.data.tobytes()
            for document in range(len(column)):
                inside = slice(tokens.offsets[document], tokens.offsets[document + 1])
                places = zip(tokens.starts[inside].tolist(), tokens.ends[inside].tolist(), strict=True)
                yield index, row, [content[start:end] for start, end in places]
                row += 1


def _write(folder: Path, documents: Documents, text_bytes: int) -> int:
    """So much text as files of some `SHARD_BYTES`; returns how much it is."""
    folder.mkdir(parents=True)
    written, files = 0, 0
    source = _rounds(documents)
    while written < text_bytes:
        in_file = 0
        with Path(folder, f"part-{files:04d}.jsonl").open("w", encoding="utf-8") as file:
            while in_file < SHARD_BYTES and written + in_file < text_bytes:
                row = next(source)
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                in_file += len(row["text"].encode())
        written, files = written + in_file, files + 1
    return written


def _rounds(documents: Documents) -> Iterator[dict[str, str]]:
    """The documents, then again and again with their words shuffled."""
    turn = 0
    while True:
        chance = random.Random(turn)
        for path in sorted(documents.folder.glob("*.jsonl.gz")):
            with gzip.open(path) as lines:
                for line in lines:
                    row = json.loads(line)
                    text = row["text"]
                    if turn:
                        words = text.split()
                        chance.shuffle(words)
                        text = " ".join(words)
                    yield {"id": f"{turn}-{row['id']}", "text": text}
        turn += 1


if __name__ == "__main__":
    sys.exit(main())
