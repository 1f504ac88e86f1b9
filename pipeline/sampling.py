"""Chooses a share of the documents by what they say: the same documents on every machine and in every order.

The choice looks at a hash of the text, not at the id: two documents with equal text always fall on the same side, so
that no validation text is also a training text.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import xxhash

HASH_RANGE = 1 << 64


def chosen(texts: pa.ChunkedArray, share: float, purpose: str, seed: int = 0) -> np.ndarray:
    """Mask of the documents in a sample that holds `share` (0..1) of all documents on average.

    `purpose` and `seed` make samples independent of each other: the documents chosen to train the tokenizer tell
    nothing about those chosen for validation.
    """
    salt = xxhash.xxh3_64_intdigest(f"{purpose}/{seed}".encode())
    limit = int(share * HASH_RANGE)
    hashes = (xxhash.xxh3_64_intdigest(text.as_buffer() or b"", seed=salt) for text in texts)
    return np.fromiter((value < limit for value in hashes), dtype=np.bool_, count=len(texts))
