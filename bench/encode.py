"""Encoding: MB of text per CPU-second, against `tokenizers` and tiktoken with the same merges, ids equal.

    python -m bench.encode [--data PATH] [--peer tiktoken] [--repeat N]

One tokenizer, byte-level BPE of up to 32,768 tokens with GPT-2's pre-tokenization, is trained by `tokenizers` on the
documents and given to all sides; tiktoken has its own form of GPT-2's expression. Each side is a process of its own
with one thread, in turns. It gets the documents in memory in the form that it wants (gptmill a column of Arrow, the
others a list of strings), makes its encoder, and encodes each document once; nothing was encoded before, so every side
starts without remembered words. Measured is the encoding alone; start-up (imports, reading the tokenizer, loading
compiled code) is told beside.

Every document's ids are compared with those of `tokenizers`. tiktoken's need not be equal: engines of regular
expressions differ on a few documents, which are counted. The check of a sample, which is part of every encoding task,
is measured in shards of 10 MB. Last, one piece of 20 MB without a space.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from tokenizers import AddedToken, Tokenizer, decoders, models, trainers
from tokenizers.pre_tokenizers import ByteLevel

from bench.documents import Documents, given_documents, python_documents
from bench.environments import PeerMissing, peer_python
from bench.harness import CACHE, ROOT, Claim, measure
from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import fingerprint
from pipeline.tokenizer.load import token_bytes, tokenizer_from_bytes
from pipeline.tokenizer.pieces import pre_tokenizer_of
from pipeline.tokenizer.settings import SPECIAL_TOKENS, PreTokenization

VOCAB_SIZE = 32_768
TIKTOKEN = ("tiktoken==0.14.0",)
RUNS = CACHE / "runs" / "encode"
SIDES = {"tokenizers": 4.0, "tiktoken": 1.0}
"""Peers and how many times as many megabytes per CPU-second are wanted."""
CHECK_SHARE = 0.02


@dataclass(frozen=True)
class Ids:
    """What a side made of the documents."""

    tokens: np.ndarray
    """uint32 [tokens]."""
    starts: np.ndarray
    """int64 [documents + 1]."""

    def different(self, other: Ids) -> int:
        """Documents with other tokens."""
        bounds = (self.starts.tolist(), other.starts.tolist())
        return sum(
            not np.array_equal(
                self.tokens[bounds[0][place] : bounds[0][place + 1]],
                other.tokens[bounds[1][place] : bounds[1][place + 1]],
            )
            for place in range(len(self.starts) - 1)
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0 when its goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.encode", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="file or folder of documents (default: documentation of installed packages)")
    parser.add_argument("--peer", action="append", default=[], choices=["tiktoken"], help="measure it beside")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side (default 3)")
    given = parser.parse_args(arguments)
    documents = given_documents(given.data) if given.data else python_documents()
    shutil.rmtree(RUNS, ignore_errors=True)
    RUNS.mkdir(parents=True)
    texts = RUNS / "texts.jsonl"
    texts.write_bytes(b"".join(orjson.dumps(text) + b"\n" for text in _texts(documents)))
    tokenizer = _tokenizer(documents)
    claim = Claim("encode")
    _measure_sides(claim, documents, texts, tokenizer, ["tokenizers", *given.peer], given.repeat)
    claim.figure("documents", documents.count)
    claim.figure("text_megabytes", documents.text_bytes / 1e6)
    return claim.finish()


def _measure_sides(
    claim: Claim, documents: Documents, texts: Path, tokenizer: Path, peers: list[str], repeat: int
) -> None:
    commands = {"gptmill": [sys.executable, "-m", "bench.encode_run", str(tokenizer)]}
    for peer in peers:
        try:
            commands[peer] = _peer(peer, tokenizer)
        except PeerMissing as reason:
            claim.figure(peer, f"skipped: {reason}")
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in commands}
    for _ in range(repeat):
        for side, command in commands.items():
            result = RUNS / f"{side}.json"
            measure([*command, str(texts), str(result), str(RUNS / f"{side}.ids")])
            found[side].append(orjson.loads(result.read_bytes()))
    megabytes = documents.text_bytes / 1e6
    ours = [run["seconds"] for run in found["gptmill"]]
    claim.figure("megabytes_per_cpu_second", [megabytes / seconds for seconds in ours], "MB/s")
    claim.figure("cpu_seconds_of_start_up", [run["start_up"] for run in found["gptmill"]], "s")
    for side, runs in found.items():
        if side == "gptmill":
            continue
        claim.figure(f"{side}_megabytes_per_cpu_second", [megabytes / run["seconds"] for run in runs], "MB/s")
        claim.figure(f"{side}_cpu_seconds_of_start_up", [run["start_up"] for run in runs], "s")
        claim.figure(f"over_{side}", [run["seconds"] / own for run, own in zip(runs, ours, strict=True)])
        claim.goal(f"over_{side}", at_least=SIDES[side])
    ids = {side: _ids(RUNS / f"{side}.ids") for side in commands}
    for side in peers:
        if side in ids:
            claim.figure(f"documents_with_other_ids_than_{side}", ids["gptmill"].different(ids[side]))
    claim.goal("documents_with_other_ids_than_tokenizers", equals=0)
    claim.figure("tokens", len(ids["gptmill"].tokens))
    claim.figure("share_of_time_for_the_check", [run["check"] / run["seconds"] for run in found["gptmill"]])
    claim.goal("share_of_time_for_the_check", at_most=CHECK_SHARE)
    claim.figure("documents_compared_by_the_check", found["gptmill"][0]["compared"])
    without = [run["piece_megabytes"] / run["piece_seconds"] for run in found["gptmill"]]
    claim.figure("megabytes_per_cpu_second_without_a_space", without, "MB/s")


def _peer(peer: str, tokenizer: Path) -> list[str]:
    """The command of a peer, but for what all sides are given."""
    script = str(ROOT / "bench" / "peers" / f"{peer}_ids.py")
    if peer == "tokenizers":
        return [sys.executable, script, str(tokenizer)]
    ranks = RUNS / "ranks.json"
    loaded = tokenizer_from_bytes(tokenizer.read_bytes(), str(tokenizer), None)
    texts = {index: list(text) for index, text in enumerate(token_bytes(loaded)) if text}
    ranks.write_bytes(orjson.dumps([[text, index] for index, text in texts.items()]))
    return [str(peer_python("tiktoken", TIKTOKEN)), script, str(ranks)]


def _tokenizer(documents: Documents) -> Path:
    """The tokenizer.json that all sides use, trained once for these documents."""
    path = CACHE / "tokenizers" / fingerprint(str(documents.folder), VOCAB_SIZE)[:16] / "tokenizer.json"
    if path.exists():
        return path
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer_of(PreTokenization(kind="gpt2"))
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(documents), trainer)
    with storage.write_atomically(str(path)) as file:
        file.write(tokenizer.to_str().encode())
    return path


def _texts(documents: Documents) -> Iterator[str]:
    for path in sorted(documents.folder.glob("*.jsonl.gz")):
        with gzip.open(path) as lines:
            for line in lines:
                yield orjson.loads(line)["text"]


def _ids(path: Path) -> Ids:
    """What a side wrote: uint32 numbers: documents, tokens of each document, all tokens."""
    numbers = np.fromfile(path, np.uint32)
    documents = int(numbers[0])
    starts = np.concatenate([[0], np.cumsum(numbers[1 : documents + 1], dtype=np.int64)])
    tokens = numbers[documents + 1 :]
    if len(tokens) != starts[-1]:
        raise UserError(f"{path} holds {len(tokens)} tokens instead of {starts[-1]}: the side did not finish")
    return Ids(tokens, starts)


if __name__ == "__main__":
    sys.exit(main())
