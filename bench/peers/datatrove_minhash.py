"""datatrove's side of `bench.minhash`: `python datatrove_minhash.py INPUT_FOLDER OUTPUT_FOLDER BANDS ROWS`.

Its documented four stages with its defaults (64-bit hashes, word 5-grams), as FineWeb used them, one task after the
other in one process; kept documents as JSON Lines.
"""

import sys

from datatrove.executor.local import LocalPipelineExecutor  # type: ignore[import-not-found]
from datatrove.pipeline.dedup import (  # type: ignore[import-not-found]
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig  # type: ignore[import-not-found]
from datatrove.pipeline.readers import JsonlReader  # type: ignore[import-not-found]
from datatrove.pipeline.writers.jsonl import JsonlWriter  # type: ignore[import-not-found]
from datatrove.utils.hashing import HashConfig  # type: ignore[import-not-found]

TASKS = 4

if __name__ == "__main__":
    source, output, bands, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    config = MinhashConfig(hash_config=HashConfig(precision=64), num_buckets=bands, hashes_per_bucket=rows, n_grams=5)
    reader = JsonlReader(source, glob_pattern="*.jsonl.gz")
    stages = [
        (TASKS, [reader, MinhashDedupSignature(output_folder=f"{output}/signatures", config=config)]),
        (bands, [MinhashDedupBuckets(f"{output}/signatures", f"{output}/buckets", config=config)]),
        (1, [MinhashDedupCluster(f"{output}/buckets", f"{output}/removed", config=config)]),
        (TASKS, [reader, MinhashDedupFilter(f"{output}/removed"), JsonlWriter(f"{output}/kept", compression=None)]),
    ]
    for number, (tasks, pipeline) in enumerate(stages):
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=1, logging_dir=f"{output}/logs-{number}").run()
