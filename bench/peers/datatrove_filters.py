"""datatrove's side of `bench.engine`: `python datatrove_filters.py INPUT_FOLDER OUTPUT_FOLDER TASKS`.

Its documented way: a local executor, Gopher's two filters with their defaults, JSON Lines in and out.
"""

import sys

from datatrove.executor.local import LocalPipelineExecutor  # type: ignore[import-not-found]
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter  # type: ignore[import-not-found]
from datatrove.pipeline.readers import JsonlReader  # type: ignore[import-not-found]
from datatrove.pipeline.writers.jsonl import JsonlWriter  # type: ignore[import-not-found]

if __name__ == "__main__":
    source, output, tasks = sys.argv[1], sys.argv[2], int(sys.argv[3])
    LocalPipelineExecutor(
        pipeline=[
            JsonlReader(source, glob_pattern="*.jsonl.gz"),
            GopherRepetitionFilter(),
            GopherQualityFilter(),
            JsonlWriter(output, compression=None),
        ],
        tasks=tasks,
        logging_dir=output + "-logs",
    ).run()
