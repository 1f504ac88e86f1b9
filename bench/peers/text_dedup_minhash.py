"""text-dedup's side of `bench.minhash`: `python text_dedup_minhash.py INPUT_FOLDER OUTPUT_FOLDER BANDS ROWS`.

Its command `text_dedup.minhash` with word 5-grams and the quicker of its hash functions, in one process; it reads and
writes by the `datasets` library.
"""

import json
import subprocess
import sys
from pathlib import Path

from datasets import load_from_disk

if __name__ == "__main__":
    source, output, bands, rows = sys.argv[1:]
    permutations = str(int(bands) * int(rows))
    options = {
        "path": "json",
        "data_files": f"{source}/*.jsonl.gz",
        "split": "train",
        "cache_dir": f"{output}/cache",
        "output": f"{output}/dataset",
        "column": "text",
        "batch_size": "1000",
        "num_proc": "1",
        "ngram": "5",
        "hash_func": "xxh3",
        "num_perm": permutations,
        "b": bands,
        "r": rows,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    subprocess.run([sys.executable, "-m", "text_dedup.minhash", *words], check=True)
    Path(output, "kept").mkdir()
    with Path(output, "kept", "ids.jsonl").open("w") as file:
        file.writelines(json.dumps({"id": name}) + "\n" for name in load_from_disk(f"{output}/dataset")["id"])
