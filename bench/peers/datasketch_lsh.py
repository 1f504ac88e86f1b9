"""datasketch's side of `bench.minhash`: `python datasketch_lsh.py INPUT_FOLDER OUTPUT_FOLDER BANDS ROWS`.

Its documented way: the MinHash of the set of word 5-grams of each document (`MinHash.generator`, which sets the
permutations up once and takes a document's shingles in one batch), an LSH index in memory, and a document that finds an
earlier one is dropped. Its quickest scheme (32 bits), and xxh32 as hash function, quicker than its default SHA-1.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import xxhash
from datasketch import MinHash, MinHashLSH

_WORDS = re.compile(r"\w+")


def shingles_of(line: bytes) -> set[bytes]:
    """The word 5-grams of a document."""
    words = _WORDS.findall(json.loads(line)["text"].lower())
    return {" ".join(words[place : place + 5]).encode() for place in range(max(1, len(words) - 4))}


def lines_of(folder: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """The lines of each file."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path) as lines:
            yield path, list(lines)


if __name__ == "__main__":
    source, output, bands, rows = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    (output / "kept").mkdir(parents=True)
    index = MinHashLSH(num_perm=bands * rows, params=(bands, rows))
    number = 0
    for path, lines in lines_of(source):
        minhashes = MinHash.generator(
            map(shingles_of, lines), num_perm=bands * rows, hashfunc=xxhash.xxh32_intdigest, scheme="affine32"
        )
        with (output / "kept" / path.stem).open("wb") as kept:
            for line, minhash in zip(lines, minhashes, strict=True):
                if not index.query(minhash):
                    kept.write(line)
                index.insert(number, minhash)
                number += 1
