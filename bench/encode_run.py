"""gptmill's side of `bench.encode`: `python -m bench.encode_run TOKENIZER.json TEXTS.jsonl RESULT.json IDS`.

Encodes as an encoding task does: batch after batch of an Arrow column, then the check of a sample as a task of each
10 MB would do it, then one piece of 20 MB. Compiled code is loaded before the clock starts, and counts as start-up.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from pipeline.kernels.column import TextColumn, column_of
from pipeline.kernels.compiled import ensure_compiled
from pipeline.tokenizer.encoder import KERNELS, Encoded, Encoder
from pipeline.tokenizer.encoding_check import EncodingCheck

BATCH = 1000
SHARD_BYTES = 10_000_000
PIECE_LETTERS = 20_000_000


def main(tokenizer: str, given: str, result: str, ids: str) -> None:
    """Encode all texts; write what it took and the ids."""
    content = Path(tokenizer).read_bytes()
    ensure_compiled(KERNELS)
    Encoder.from_tokenizer(content).encode(column_of(["a"]))
    start_up = time.process_time()
    texts = [orjson.loads(line) for line in Path(given).read_bytes().splitlines()]
    columns = [column_of(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    encoder = Encoder.from_tokenizer(content)
    started = time.process_time()
    encoded = [encoder.encode(column) for column in columns]
    seconds = time.process_time() - started
    check, compared = _check(encoder, columns, encoded)
    lengths = np.concatenate([np.diff(entry.starts) for entry in encoded])
    numbers = [np.array([len(lengths)]), lengths, *(entry.ids for entry in encoded)]
    np.concatenate(numbers).astype(np.uint32).tofile(ids)
    piece = column_of(["".join(random.Random(0).choices("etaoinshrdlu", k=PIECE_LETTERS))])
    started = time.process_time()
    encoder.encode(piece)
    figures = {
        "start_up": start_up,
        "seconds": seconds,
        "check": check,
        "compared": compared,
        "piece_megabytes": PIECE_LETTERS / 1e6,
        "piece_seconds": time.process_time() - started,
    }
    Path(result).write_bytes(orjson.dumps(figures))


def _check(encoder: Encoder, columns: list[TextColumn], encoded: list[Encoded]) -> tuple[float, int]:
    """CPU-seconds that the check takes and documents that it compares."""
    names = pa.chunked_array([pa.array([str(number) for number in range(BATCH)])])
    encoder.tokenizer.encode("the first call of a process")
    started = time.process_time()
    check, compared, passed = EncodingCheck(encoder, "shard"), 0, 0
    for column, entry in zip(columns, encoded, strict=True):
        if passed >= SHARD_BYTES:
            check, compared, passed = EncodingCheck(encoder, "shard"), compared + check.documents, 0
        check.look_at(column, entry, names)
        passed += int(column.offsets[-1] - column.offsets[0])
    return time.process_time() - started, compared + check.documents


if __name__ == "__main__":
    main(*sys.argv[1:])
