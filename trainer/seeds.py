"""Independent random streams from the one seed of a run."""

import hashlib


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from the run's seed and what the stream is for (SHA-256, so nearby parts are unrelated)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
