"""A vocabulary of 32,768 tokens from counted pieces: against `tokenizers` on the same text, and with 2 workers.

    python -m bench.bpe [--data PATH] [--vocab-size N] [--pieces gpt2|gpt4] [--repeat N]

Both sides learn from the same documents with the same pre-tokenizer, in processes of their own and in turns
(`bench.bpe_run`): gptmill counts the pieces of each shard, merges the counts (with all files and records of a run) and
learns from them; `tokenizers` is given the texts in memory, on one thread, where it takes the fewest CPU-seconds.
Told are megabytes of text per CPU-second from text to vocabulary, and of the learning alone. The two tokenizer.json
must be equal to the byte.

Counting with two workers against one is the time from the start of the first counting task to the end of the last,
under Ray, of the documents so often that they have 1 GB; the counts must be equal to the byte.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from bench.documents import Documents, given_documents, python_documents
from bench.harness import CACHE, Claim, Measured, disturbance, measure
from bench.in_process import InProcess
from pipeline import storage
from pipeline.corpus import build_corpus, open_corpus
from pipeline.shard import StageDirectory
from pipeline.sources.jsonl import JsonLines
from pipeline.tokenizer.settings import TokenizerSettings

RUNS = CACHE / "runs" / "bpe"
COUNTED_BYTES = 1_000_000_000
"""Text that the workers count: a task must take longer than a worker needs to load its code."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0 when its goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.bpe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="file or folder of documents (default: documentation of installed packages)")
    parser.add_argument("--vocab-size", type=int, default=32768, help="default 32768")
    parser.add_argument("--pieces", choices=["gpt2", "gpt4"], default="gpt2", help="pre-tokenization (default gpt2)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side (default 3)")
    given = parser.parse_args(arguments)
    documents = given_documents(given.data) if given.data else python_documents()
    shutil.rmtree(RUNS, ignore_errors=True)
    RUNS.mkdir(parents=True)
    settings = TokenizerSettings(vocab_size=given.vocab_size, pre_tokenization=given.pieces)
    claim = Claim("bpe")
    _compare(claim, documents, settings, given.repeat)
    _measure_workers(claim, documents, settings, given.repeat)
    claim.figure("documents", documents.count)
    claim.figure("text_megabytes", documents.text_bytes / 1e6)
    return claim.finish()


def _compare(claim: Claim, documents: Documents, settings: TokenizerSettings, repeat: int) -> None:
    corpus = _corpus(documents.folder, "once")
    seconds: dict[str, list[dict[str, float]]] = {"counts": [], "library": []}
    contents: set[bytes] = set()
    for _ in range(repeat):
        for side, runs in seconds.items():
            folder = RUNS / side
            measure(_run(side, corpus, settings, folder))
            runs.append(storage.read_json(str(folder / "seconds.json")))
            contents.add((folder / "tokenizer.json").read_bytes())
    megabytes = documents.text_bytes / 1e6
    ours, theirs = ([run["all"] for run in seconds[side]] for side in ("counts", "library"))
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    claim.figure("over_tokenizers", ratios)
    claim.goal("over_tokenizers", at_least=2.0)
    claim.figure("merges_identical", len(contents) == 1)
    claim.goal("merges_identical", equals=True)
    claim.figure("megabytes_per_cpu_second", [megabytes / value for value in ours], "MB")
    claim.figure("megabytes_per_cpu_second_of_tokenizers", [megabytes / value for value in theirs], "MB")
    for part in ("counting", "merging"):
        claim.figure(f"megabytes_per_cpu_second_{part}", [megabytes / run[part] for run in seconds["counts"]], "MB")


def _measure_workers(claim: Claim, documents: Documents, settings: TokenizerSettings, repeat: int) -> None:
    copies = max(1, round(COUNTED_BYTES / max(1, documents.text_bytes)))
    many = RUNS / "input"
    many.mkdir()
    for file in sorted(documents.folder.glob("*.jsonl.gz")):
        # Members of gzip stand one behind the other.
        (many / file.name).write_bytes(file.read_bytes() * copies)
    corpus = _corpus(many, "many")
    spans: dict[int, list[float]] = {1: [], 2: []}
    runs: list[Measured] = []
    outputs: set[bytes] = set()
    for _ in range(repeat):
        for workers, taken in spans.items():
            folder = RUNS / f"workers-{workers}"
            runs.append(measure(_run(str(workers), corpus, settings, folder)))
            taken.append(storage.read_json(str(folder / "seconds.json"))["counting"])
            outputs.add((folder / "counts.json").read_bytes())
    ratios = [one / two for one, two in zip(spans[1], spans[2], strict=True)]
    claim.figure("counting_with_2_workers_over_1", ratios)
    claim.goal("counting_with_2_workers_over_1", at_least=1.8, unjudged=disturbance(runs, cores=2))
    claim.figure("counts_identical", len(outputs) == 1)
    claim.goal("counts_identical", equals=True)
    for workers, taken in spans.items():
        claim.figure(f"seconds_of_counting_with_{workers}_worker{'s'[: workers - 1]}", taken, "s")


def _run(side: str, corpus: StageDirectory, settings: TokenizerSettings, folder: Path) -> list[str]:
    return [sys.executable, "-m", "bench.bpe_run", side, corpus.url, settings.model_dump_json(), str(folder)]


def _corpus(folder: Path, name: str) -> StageDirectory:
    """The documents as shards, as the corpus step leaves them."""
    place = str(RUNS / f"corpus-{name}")
    build_corpus([JsonLines(path=str(folder / "*.jsonl.gz"))], [], place, InProcess(), 0.0)
    return open_corpus(place)


if __name__ == "__main__":
    sys.exit(main())
