"""Reading training rows in random order: tokens per CPU-second, against numpy.memmap over a .bin.

    python -m bench.reader [--rows N] [--repeat N]

A dataset of drawn tokens, rows of 1,024 uint16 in shards of 4,096 rows with eight documents a row, and the same rows
as a flat .bin; both in the page cache. Every side makes int64 inputs and targets, [64, 1024], for the same number of
batches, in one process with one thread, in turns. A step has eight batches (half a million tokens).

gptmill goes the trainer's way: step number to rows by its permutation, rows from their shards. `with_documents` makes
the numbers of the documents beside, which a .bin does not know, and `mixture` draws from two such datasets. The peer
is given its rows in random order; `memmap` takes all rows of a batch at once, `memmap_rows` one slice a row, as scripts
that train GPTs on a .bin do. The goal is against the faster of the two. That all sides read the same tokens is checked.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.drawn_tokens import write_drawn_tokens
from bench.harness import CACHE, Claim
from pipeline.errors import UserError
from trainer.data.batch import RowSource
from trainer.data.mixed_rows import MixedRows
from trainer.data.mixture import MixtureOrder, MixturePlan, Share
from trainer.data.order import SampleOrder
from trainer.data.token_dataset import TRAIN, TokenDataset, find_dataset

CONTEXT = 1024
BATCH = 64
STEP = 512
"""Rows of a step, which is read in batches."""
VOCAB_SIZE = 50_257
ROWS_PER_SHARD = 4096
DOCUMENTS_PER_ROW = 8
SEED = 1
RUNS = CACHE / "runs" / "reader"
PER_CPU_SECOND = 50e6
OVER_MEMMAP = 0.7

Side = Callable[[int], Iterator[tuple[np.ndarray, np.ndarray]]]
"""Inputs and targets of each batch of a step."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0 when its goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.reader", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1 << 16, help="training rows (default 65,536: 134 MB)")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each side (default 5)")
    given = parser.parse_args(arguments)
    shutil.rmtree(RUNS, ignore_errors=True)
    rows = {"train": given.rows, "validation": 1}
    write_drawn_tokens(RUNS / "tokens", VOCAB_SIZE, CONTEXT, rows, ROWS_PER_SHARD, DOCUMENTS_PER_ROW)
    dataset = find_dataset(str(RUNS / "tokens"))
    sides = _sides(dataset, _flat_file(dataset))
    _require_equal(sides)
    steps = given.rows // STEP
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(given.repeat):
        for name, side in sides.items():
            started = time.process_time()
            for step in range(steps):
                for _ in side(step):
                    pass
            speeds[name].append(steps * STEP * CONTEXT / (time.process_time() - started))
    claim = Claim("reader")
    for name, found in speeds.items():
        claim.figure(f"million_tokens_per_cpu_second_{name}", [speed / 1e6 for speed in found])
    claim.goal("million_tokens_per_cpu_second_gptmill", at_least=PER_CPU_SECOND / 1e6)
    turns = zip(speeds["gptmill"], speeds["memmap"], speeds["memmap_rows"], strict=True)
    claim.figure("over_the_faster_memmap", [ours / max(peers) for ours, *peers in turns])
    claim.goal("over_the_faster_memmap", at_least=OVER_MEMMAP)
    claim.figure("shards", len(dataset.split(TRAIN)["shards"]))
    claim.figure("megabytes", given.rows * (CONTEXT + 1) * 2 / 1e6, "MB")
    return claim.finish()


def _sides(dataset: TokenDataset, file: Path) -> dict[str, Side]:
    train, alone = dataset.rows(TRAIN), dataset.rows(TRAIN, with_documents=False)
    order = SampleOrder(train.rows, STEP, SEED)
    plan = MixturePlan(tuple(Share(name, train.rows, train.rows, {}) for name in "ab"), CONTEXT)
    mixed, mixed_order = MixedRows([train, dataset.rows(TRAIN)]), MixtureOrder(plan, STEP, SEED)
    stored = np.memmap(file, np.uint16, mode="r").reshape(-1, CONTEXT + 1)
    shuffled = np.concatenate([order.sample_ids(step) for step in range(train.rows // STEP)])

    def ours(rows: RowSource, order: SampleOrder | MixtureOrder) -> Side:
        def batches(step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            ids = order.sample_ids(step)
            for first in range(0, STEP, BATCH):
                batch = rows.batch(ids[first : first + BATCH])
                yield batch.inputs, batch.targets

        return batches

    def memmap(step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for first in range(step * STEP, (step + 1) * STEP, BATCH):
            tokens = stored[shuffled[first : first + BATCH]].astype(np.int64)
            yield tokens[:, :-1], tokens[:, 1:]

    def memmap_rows(step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for first in range(step * STEP, (step + 1) * STEP, BATCH):
            rows = shuffled[first : first + BATCH].tolist()
            inputs = np.stack([stored[row, :-1].astype(np.int64) for row in rows])
            targets = np.stack([stored[row, 1:].astype(np.int64) for row in rows])
            yield inputs, targets

    return {
        "gptmill": ours(alone, order),
        "with_documents": ours(train, order),
        "mixture": ours(mixed, mixed_order),
        "memmap": memmap,
        "memmap_rows": memmap_rows,
    }


def _flat_file(dataset: TokenDataset) -> Path:
    """The training rows one behind the other, as scripts that read .bin have them."""
    path = RUNS / "train.bin"
    with path.open("wb") as file:
        for shard in dataset.split(TRAIN)["shards"]:
            with pa.memory_map(str(Path(dataset.url, shard["file"]))) as source:
                column = pa.ipc.open_stream(source).read_all()["input_ids"].combine_chunks()
                file.write(column.flatten().to_numpy().tobytes())
    return path


def _require_equal(sides: dict[str, Side]) -> None:
    for step in (0, 3):
        for name in ("gptmill", "memmap_rows"):
            for found, wanted in zip(sides[name](step), sides["memmap"](step), strict=True):
                if not all(map(np.array_equal, found, wanted)):
                    raise UserError(f"{name} reads other tokens than memmap in step {step}: this is a bug")


if __name__ == "__main__":
    sys.exit(main())
