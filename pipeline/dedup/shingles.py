"""Documents as sets of shingles (runs of words), each shingle as a 64-bit hash.

A word is a run of letters, digits and underscores, lower-cased; each character of a script written without spaces
(Chinese, Japanese kana, Thai, Lao, Burmese, Khmer) is a word of its own, because there the whole sentence would be
one. A document of fewer words than a shingle is one shingle of all its words; one without any word is one shingle of
its stripped text.

Decisions: a shingle's hash is the polynomial of its words' xxh3-64 hashes modulo 2^64, finished with MurmurHash3's
mixer. It is computed for a whole batch at once by shifting one array; no shingle exists as a string. Two different
shingles of a corpus of 10^9 share a hash with a chance of one in 40, and then one Jaccard value is off by 1/n.

Cost: about 10 MB of text a CPU-second, nearly all of it splitting into words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import xxhash

from pipeline.scripts import UNSPACED

_WORD = re.compile(f"[{UNSPACED}]|[^\\W{UNSPACED}]+")
_MULTIPLIER = 0x9E3779B97F4A7C15
_REMEMBERED_WORDS = 1 << 20


class _WordHashes(dict[str, int]):
    """Hashes of the words seen lately: most words of a text are old ones, and looking up is quicker than hashing."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED_WORDS:
            self.clear()
        value = self[word] = xxhash.xxh3_64_intdigest(word.encode())
        return value


_hash_of = _WordHashes()


@dataclass(frozen=True)
class Shingles:
    """The shingles of a batch of documents, one document after the other."""

    hashes: np.ndarray
    """uint64[shingles]; repeated shingles of a document are repeated here."""
    starts: np.ndarray
    """int64[documents + 1]: where each document's shingles begin; every document has at least one."""

    def of(self, document: int) -> np.ndarray:
        """The sorted set of shingles of one document."""
        return np.unique(self.hashes[self.starts[document] : self.starts[document + 1]])


def shingles(texts: Sequence[str], size: int) -> Shingles:
    """The shingles of `size` words of each text."""
    words = [_WORD.findall(text.lower()) or [text.strip()] for text in texts]
    # Missing words of a short document are zeros in front: they leave the polynomial of the words as it is.
    padding = [0] * (size - 1)
    lengths = np.fromiter((max(len(document), size) for document in words), np.int64, len(words))
    flat = chain.from_iterable(
        chain(padding[len(document) - 1 :], map(_hash_of.__getitem__, document)) for document in words
    )
    hashes = np.fromiter(flat, np.uint64, int(lengths.sum()))
    ends = np.cumsum(lengths)
    windows = max(0, len(hashes) - size + 1)
    polynomial = np.zeros(windows, np.uint64)
    for place in range(size):
        polynomial *= np.uint64(_MULTIPLIER)
        polynomial += hashes[place : place + windows]
    inside = np.ones(windows, bool)
    # A window that begins in the last size - 1 words of a document reaches into the next one.
    for distance in range(1, size):
        inside[ends[:-1] - distance] = False
    starts = np.concatenate([[0], np.cumsum(lengths - size + 1)])
    return Shingles(mix(polynomial[inside]), starts)


def mix(values: np.ndarray) -> np.ndarray:
    """MurmurHash3's finalizer of 64 bits (a bijection): every input bit reaches every output bit. uint64 -> uint64."""
    mixed: np.ndarray = values ^ (values >> np.uint64(33))
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    mixed ^= mixed >> np.uint64(33)
    return mixed


def jaccard(left: np.ndarray, right: np.ndarray) -> float:
    """Size of the intersection over size of the union of two sorted sets; both must have elements."""
    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)
