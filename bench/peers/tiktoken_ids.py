"""tiktoken's side of `bench.encode`: `python tiktoken_ids.py RANKS.json TEXTS.jsonl RESULT.json IDS`.

RANKS.json is a list of [bytes of a token, its id]: merges in the order of ids are the tokenizer's own. The expression
is the one that tiktoken ships for GPT-2, tuned to its engine. One text after the other, on one thread; special tokens
in texts are plain text.
"""

import json
import sys
import time
from array import array
from pathlib import Path

import tiktoken  # type: ignore[import-not-found]
from tiktoken_ext.openai_public import r50k_pat_str  # type: ignore[import-not-found]


def main(ranks_file: str, given: str, result: str, ids: str) -> None:
    """Encode all texts; write what it took and the ids."""
    ranks = {bytes(text): index for text, index in json.loads(Path(ranks_file).read_bytes())}
    encoding = tiktoken.Encoding("bench", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={})
    start_up = time.process_time()
    texts = [json.loads(line) for line in Path(given).read_bytes().splitlines()]
    started = time.process_time()
    found = [encoding.encode_ordinary(text) for text in texts]
    seconds = time.process_time() - started
    numbers = array("I", [len(found), *map(len, found)])
    for tokens in found:
        numbers.extend(tokens)
    Path(ids).write_bytes(numbers.tobytes())
    Path(result).write_text(json.dumps({"start_up": start_up, "seconds": seconds}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
