"""True Jaccard similarity of pairs of documents, from their texts.

Pairs are taken in the order of their first document, in parts whose texts fit a budget; a part reads each of its texts
once, in the order in which they lie on disk, and needs about six times the budget of memory, or fourteen times its
largest pair.

Cost: 110 MB of text a CPU-second.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from pipeline.dedup import shingles as shingling
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.kernels.column import text_column

KERNELS = shingling.KERNELS
PART_BYTES = 2 << 20
"""Text that is compared at a time. Changes no result."""


def similarities(
    numbered: NumberedCorpus,
    first: np.ndarray,
    second: np.ndarray,
    shingle_words: int,
    part_bytes: int = PART_BYTES,
) -> np.ndarray:
    """Jaccard similarity of the sets of shingles of each pair.

    Args:
        numbered: The corpus.
        first: int64[pairs]: numbers of documents.
        second: int64[pairs].
        shingle_words: Words in a shingle.
        part_bytes: Text that is compared at a time.

    Returns:
        float64[pairs], in the order of the pairs.
    """
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    members, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    size_of_first, size_of_second = np.split(numbered.text_bytes(members)[places], 2)
    size_of_first[1:][first[1:] == first[:-1]] = 0
    part = np.cumsum(size_of_first + size_of_second) // part_bytes
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(part)) + 1, [len(first)]]).tolist()
    values = np.empty(len(first), np.float64)
    for begin, end in pairwise(bounds):
        if begin == end:
            continue
        members, places = np.unique(np.concatenate([first[begin:end], second[begin:end]]), return_inverse=True)
        sets = shingling.shingles(text_column(numbered.take("text", members)), shingle_words)
        values[order[begin:end]] = sets.jaccard(*np.split(places, 2))
    return values
