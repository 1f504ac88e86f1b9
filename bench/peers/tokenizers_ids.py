"""tokenizers' side of `bench.encode`: `python tokenizers_ids.py TOKENIZER.json TEXTS.jsonl RESULT.json IDS`.

Its fastest way, `encode_batch_fast`, on one thread. Special tokens in texts are plain text, as for all sides.
"""

import json
import os
import sys
import time
from array import array
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer


def main(tokenizer_file: str, given: str, result: str, ids: str) -> None:
    """Encode all texts; write what it took and the ids."""
    tokenizer = Tokenizer.from_file(tokenizer_file)
    tokenizer.encode_special_tokens = True
    start_up = time.process_time()
    texts = [json.loads(line) for line in Path(given).read_bytes().splitlines()]
    started = time.process_time()
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    seconds = time.process_time() - started
    numbers = array("I", [len(encodings), *(len(encoding.ids) for encoding in encodings)])
    for encoding in encodings:
        numbers.extend(encoding.ids)
    Path(ids).write_bytes(numbers.tobytes())
    Path(result).write_text(json.dumps({"start_up": start_up, "seconds": seconds}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
