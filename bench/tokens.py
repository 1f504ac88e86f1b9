"""Corpus to packed token shards: MB of text per CPU-second against datatrove's tokenizer step, padding, equal bytes.

    python -m bench.tokens [--data PATH] [--peer datatrove] [--repeat N]

One tokenizer of 32,768 tokens, trained on the documents before, is given to both sides. gptmill reads the corpus in
its own shards, encodes, shuffles over the whole corpus, packs rows of 2,048 tokens with best_fit, and writes shards,
records and manifest; datatrove reads the documents as JSON Lines and writes `.ds` files, shuffled within a file, not
cut into rows. Both run their tasks one after the other in one process, on the documents taken four times, so that the
work outweighs imports. `over_datatrove` is the ratio of CPU-seconds as they are; `over_datatrove_without_start_up`
leaves out what each side takes for the first 16 documents alone.

Loss is padding plus tokens in no row, as a share of the tokens, for both packings. Nothing is cut that fits when the
rows hold no more pieces than the documents need: one each, longer ones as many as rows of their length. Memory is that
of the process with buckets of 4 MB of text, for the documents and for four times as many. Outputs are compared by
SHA-256 of every file but the records, which hold times: tasks in this process, 1, 2 and 4 workers of Ray, and a run
killed twice (SIGKILL to all its processes) and continued.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from bench.documents import Documents, given_documents, python_documents
from bench.engine import DATATROVE
from bench.environments import PeerMissing, peer_python
from bench.harness import CACHE, ROOT, Claim, Measured, measure
from bench.in_process import InProcess
from bench.killing import start_and_kill
from pipeline.corpus import build_corpus, open_corpus
from pipeline.errors import UserError
from pipeline.shard import StageDirectory
from pipeline.sources.jsonl import JsonLines
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from pipeline.tokens.format import read_tokens_manifest

VOCAB_SIZE = 32_768
CONTEXT = 2_048
FIELDS: dict[str, Any] = {"context_length": CONTEXT, "packing": "best_fit", "validation_fraction": 0.02}
SMALL_BUCKETS = {**FIELDS, "bucket_bytes": 4 << 20}
RUNS = CACHE / "runs" / "tokens"
START_UP_DOCUMENTS = 16
COPIES = 4
OVER_DATATROVE = 4.0
LOST = 0.01


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0 when its goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.tokens", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="file or folder of documents (default: documentation of installed packages)")
    parser.add_argument("--peer", action="append", default=[], choices=["datatrove"], help="measure it beside")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side (default 3)")
    given = parser.parse_args(arguments)
    documents = given_documents(given.data) if given.data else python_documents()
    shutil.rmtree(RUNS, ignore_errors=True)
    RUNS.mkdir(parents=True)
    corpus = _corpus("corpus", documents.folder)
    few = _few(documents)
    tokenizer = RUNS / "tokenizer"
    train_tokenizer(TokenizerSettings(vocab_size=VOCAB_SIZE), corpus, str(tokenizer), InProcess())
    claim = Claim("tokens")
    larger = _copied(documents)
    larger_corpus = _corpus("larger-corpus", larger.folder)
    _measure_speed(claim, larger, larger_corpus, few, tokenizer, given.peer, given.repeat)
    _measure_loss(claim, corpus, tokenizer)
    peaks = [_run("memory", given, tokenizer, SMALL_BUCKETS).peak_pss_bytes / 1e6 for given in (corpus, larger_corpus)]
    claim.figure("peak_megabytes_with_small_buckets", peaks[0], "MB")
    claim.figure(f"growth_of_memory_for_{COPIES}_times_the_input", peaks[1] / peaks[0])
    _compare_bytes(claim, corpus, tokenizer)
    claim.figure("documents", documents.count)
    claim.figure("text_megabytes", documents.text_bytes / 1e6)
    return claim.finish()


def _measure_speed(
    claim: Claim,
    documents: Documents,
    corpus: StageDirectory,
    few: Path,
    tokenizer: Path,
    peers: list[str],
    repeat: int,
) -> None:
    few_corpus = _corpus("few-corpus", few)

    def ours(name: str, _: Path) -> Measured:
        # Of so few documents half are validated on, so that some are.
        given = (few_corpus, {**FIELDS, "validation_fraction": 0.5}) if name == "few" else (corpus, FIELDS)
        return _run(name, given[0], tokenizer, given[1])

    sides: dict[str, Callable[[str, Path], Measured]] = {"gptmill": ours}
    if "datatrove" in peers:
        try:
            python = peer_python("datatrove", DATATROVE)
            sides["datatrove"] = lambda name, source: _datatrove(python, name, source, tokenizer)
        except PeerMissing as reason:
            claim.figure("datatrove", f"skipped: {reason}")
    start_up = {side: run("few", few).cpu_seconds for side, run in sides.items()}
    whole: dict[str, list[Measured]] = {side: [] for side in sides}
    for _ in range(repeat):
        for side, run in sides.items():
            whole[side].append(run("whole", documents.folder))
    seconds = {side: [run.cpu_seconds for run in runs] for side, runs in whole.items()}
    for side, found in seconds.items():
        name = "" if side == "gptmill" else f"{side}_"
        megabytes = documents.text_bytes / 1e6
        claim.figure(f"{name}megabytes_per_cpu_second", [megabytes / value for value in found], "MB/s")
        claim.figure(f"{name}cpu_seconds_of_start_up", start_up[side], "s")
        claim.figure(f"{name}peak_megabytes", [run.peak_pss_bytes / 1e6 for run in whole[side]], "MB")
    if "datatrove" in sides:
        pairs = list(zip(seconds["datatrove"], seconds["gptmill"], strict=True))
        claim.figure("over_datatrove", [theirs / ours for theirs, ours in pairs])
        claim.goal("over_datatrove", at_least=OVER_DATATROVE)
        net = [(theirs - start_up["datatrove"], ours - start_up["gptmill"]) for theirs, ours in pairs]
        claim.figure("over_datatrove_without_start_up", [theirs / max(ours, 1e-3) for theirs, ours in net])


def _measure_loss(claim: Claim, corpus: StageDirectory, tokenizer: Path) -> None:
    for packing in ("best_fit", "split"):
        _run(packing, corpus, tokenizer, {**FIELDS, "packing": packing})
        found = read_tokens_manifest(str(RUNS / packing))["splits"]["train"]
        needed = int((-(-_document_lengths(RUNS / packing) // CONTEXT)).sum())
        claim.figure(f"lost_by_{packing}", (found["padding_tokens"] + found["lost_tokens"]) / found["target_tokens"])
        claim.figure(f"cuts_of_documents_that_fit_by_{packing}", _pieces(RUNS / packing) - needed)
    claim.goal("lost_by_best_fit", at_most=LOST)
    claim.goal("cuts_of_documents_that_fit_by_best_fit", equals=0)


def _compare_bytes(claim: Claim, corpus: StageDirectory, tokenizer: Path) -> None:
    _run("one-process", corpus, tokenizer, SMALL_BUCKETS)
    wanted = _digest(RUNS / "one-process")
    workers = set()
    for count in (1, 2, 4):
        _run(f"workers-{count}", corpus, tokenizer, SMALL_BUCKETS, count)
        workers.add(_digest(RUNS / f"workers-{count}"))
    claim.figure("outputs_identical_1_2_and_4_workers", workers == {wanted})
    claim.goal("outputs_identical_1_2_and_4_workers", equals=True)
    killed = RUNS / "killed"
    command = _command("killed", corpus, tokenizer, SMALL_BUCKETS, 2)
    for number, folder in enumerate((killed / "encoded", killed), 1):
        start_and_kill(command, folder, RUNS / "killed.log")
        if (killed / "tokens.json").exists():
            raise UserError("the run ended before it could be killed: give it more documents")
        found = {part.name: len(list(part.glob("*.json"))) for part in (killed / "encoded", killed)}
        said = ", ".join(f"{part} {count}" for part, count in found.items())
        claim.figure(f"records_when_killed_for_the_{('first', 'second')[number - 1]}_time", said)
    measure(command)
    claim.figure("outputs_identical_killed_twice_and_continued", _digest(killed) == wanted)
    claim.goal("outputs_identical_killed_twice_and_continued", equals=True)


def _run(name: str, corpus: StageDirectory, tokenizer: Path, fields: dict[str, Any], workers: int = 0) -> Measured:
    shutil.rmtree(RUNS / name, ignore_errors=True)
    return measure(_command(name, corpus, tokenizer, fields, workers))


def _command(name: str, corpus: StageDirectory, tokenizer: Path, fields: dict[str, Any], workers: int) -> list[str]:
    given = [corpus.url, str(tokenizer), str(RUNS / name), json.dumps(fields), str(workers)]
    return [sys.executable, "-m", "bench.tokens_run", *given]


def _datatrove(python: Path, name: str, source: Path, tokenizer: Path) -> Measured:
    output = RUNS / f"datatrove-{name}"
    for folder in (output, Path(f"{output}-logs"), Path(f"{output}-work")):
        shutil.rmtree(folder, ignore_errors=True)
    script = ROOT / "bench" / "peers" / "datatrove_tokens.py"
    return measure([str(python), str(script), str(source), str(output), str(tokenizer / "tokenizer.json")])


def _corpus(name: str, folder: Path) -> StageDirectory:
    place = str(RUNS / name)
    build_corpus([JsonLines(path=str(folder / "*.jsonl.gz"))], [], place, InProcess(), 0.0)
    return open_corpus(place)


def _copied(documents: Documents) -> Documents:
    """The documents `COPIES` times, in as many times the files."""
    folder = RUNS / "copies"
    folder.mkdir()
    for copy in range(COPIES):
        for file in sorted(documents.folder.glob("*.jsonl.gz")):
            (folder / f"{copy}-{file.name}").symlink_to(file)
    return Documents(folder, documents.count * COPIES, documents.text_bytes * COPIES)


def _few(documents: Documents) -> Path:
    folder = RUNS / "few-documents"
    folder.mkdir()
    with gzip.open(min(documents.folder.glob("*.jsonl.gz"))) as lines:
        first = [line for _, line in zip(range(START_UP_DOCUMENTS), lines, strict=False)]
    with gzip.open(folder / "part.jsonl.gz", "wb", 1) as file:
        file.writelines(first)
    return folder


def _document_lengths(dataset: Path) -> np.ndarray:
    """Tokens of every document of the corpus, its end-of-text included."""
    lengths = [np.empty(0, np.int64)]
    for path in sorted((dataset / "encoded").glob("*.arrow")):
        with pa.memory_map(str(path)) as file:
            lengths.append(np.diff(pa.ipc.open_file(file).read_all()["tokens"].combine_chunks().offsets.to_numpy()))
    return np.concatenate(lengths)


def _pieces(dataset: Path) -> int:
    """Parts of documents in all rows."""
    pieces = 0
    for split in read_tokens_manifest(str(dataset))["splits"].values():
        for shard in split["shards"]:
            with pa.memory_map(str(dataset / shard["file"])) as file:
                table = pa.ipc.open_stream(file).read_all()
            pieces += compute.sum(compute.list_value_length(table["document_ends"])).as_py()
    return pieces


def _digest(dataset: Path) -> str:
    """SHA-256 of all names and bytes but those of records."""
    digest = hashlib.sha256()
    for path in sorted(dataset.rglob("*")):
        is_record = path.suffix == ".json" and "shard-" in path.name
        if path.is_file() and not is_record:
            digest.update(f"{path.relative_to(dataset)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
