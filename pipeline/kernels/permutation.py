"""A pseudo-random permutation of [0, size) that is computed number by number.

A Feistel network (Luby & Rackoff 1988) over the next power of four, with cycle walking (Black & Rogaway 2002) for
numbers that fall outside: at most four walks on average. Cost: some 60 ns a number.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compiled import kernel


@kernel
def permuted(places, size, half_bits, keys):  # type: ignore[no-untyped-def]
    """Where the permutation sends each place.

    Args:
        places: int64 [places], each in [0, size).
        size: Of the range; at most 4 ** half_bits.
        half_bits: Bits of a half of the network.
        keys: uint64 [rounds]: choose the permutation.

    Returns:
        int64 [places].
    """
    bits = np.uint64(half_bits)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    found = np.empty(len(places), np.int64)
    for place in range(len(places)):
        value = np.uint64(places[place])
        while True:
            left, right = value >> bits, value & mask
            for key in keys:
                left, right = right, left ^ (_scrambled(right + key) & mask)
            value = (left << bits) | right
            if value < np.uint64(size):
                break
        found[place] = np.int64(value)
    return found


@kernel
def _scrambled(value):  # type: ignore[no-untyped-def]
    """The finaliser of splitmix64 (Steele et al. 2014), modulo 2^64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def warm_up() -> None:
    """Compile the kernels that Python calls."""
    permuted(np.zeros(1, np.int64), 1, 1, np.zeros(6, np.uint64))
