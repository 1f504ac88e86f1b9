"""gptmill's side of `bench.minhash`: `python -m bench.minhash_run INPUT_PATTERN RUN_FOLDER SETTINGS_JSON`.

The library as another program would use it: read, find near-duplicates, write what is kept, with all files and records
of a run, one task after the other in this process (Ray's start costs five CPU-seconds whatever the input). Writes
the ids of dropped documents and of those kept for them to RUN_FOLDER/removed.json, CPU-seconds by step to seconds.json.
"""

from __future__ import annotations

import gc
import json
import sys

from pyarrow import parquet

from bench.in_process import InProcess
from pipeline import storage
from pipeline.corpus import build_corpus, open_corpus
from pipeline.dedup.minhash import MinhashDedup
from pipeline.sources.jsonl import JsonLines

if __name__ == "__main__":
    pattern, run, settings = sys.argv[1:]
    stage = MinhashDedup.model_validate(json.loads(settings))
    runner = InProcess()
    build_corpus([JsonLines(path=pattern)], [stage], run, runner, 0.0)
    corpus = open_corpus(run)
    removed: dict[str, str] = {}
    for shard in corpus.shards:
        log = parquet.ParquetFile(corpus.dropped_path(shard)).read(columns=["id", "kept_id"])
        removed.update(zip(log["id"].to_pylist(), log["kept_id"].to_pylist(), strict=True))
    storage.write_json(storage.join(run, "removed.json"), removed)
    storage.write_json(storage.join(run, "seconds.json"), runner.seconds)
    gc.freeze()  # as the command does: see `jobs.cli.main`
