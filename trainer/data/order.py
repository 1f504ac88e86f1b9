"""Which rows a step sees: a pure function of (rows, seed, step), computed without a shuffled list in memory.

An epoch is a pseudo-random permutation of the row numbers: a Feistel network (Luby & Rackoff 1988) over the next
power of four, with cycle walking (Black & Rogaway 2002) for numbers that fall outside. The cursor of a run is so one
integer: nothing needs saving, and no change of workers, processes or micro-batch changes what a step sees.
Cost: six rounds of integer arithmetic a row, at most four times on average, some 60 ns; memory: the batch.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trainer.batch_ramp import BatchRamp
from trainer.seeds import seed_of

ROUNDS = 6


class SampleOrder:
    """The order in which a run goes through its rows, epoch after epoch."""

    def __init__(self, rows: int, batches: BatchRamp | int, seed: int) -> None:
        """`batches`: how many rows each step takes; a number: so many each."""
        if rows < 1:
            raise ValueError("there is no row to train on")
        self.rows, self.seed = rows, seed
        self.batches = BatchRamp(batches) if isinstance(batches, int) else batches

    def sample_ids(self, step: int, skipped: int = 0) -> npt.NDArray[np.int64]:
        """[rows of the step] the rows of the global batch of this step (the first is 0).

        A batch may reach over the end of an epoch; each epoch still has every row exactly once. `skipped` rows of the
        order, left out before this step, are never seen.
        """
        return row_of(positions_of(self.batches, step, skipped), self.rows, self.seed)


def positions_of(batches: BatchRamp, step: int, skipped: int = 0) -> npt.NDArray[np.int64]:
    """[rows of the step] the places in the run's order that a step takes, after `skipped` that were left out."""
    first, end = batches.samples_before(step), batches.samples_before(step + 1)
    return np.arange(first + skipped, end + skipped, dtype=np.int64)


def row_of(positions: npt.NDArray[np.int64], rows: int, seed: int) -> npt.NDArray[np.int64]:
    """The row at each position of a run that goes through `rows` rows epoch after epoch; same shape as given."""
    epochs, places = np.divmod(positions, rows)
    found = np.empty_like(positions)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        found[chosen] = permute(places[chosen], rows, seed_of(seed, "epoch", int(epoch)))
    return found


def permute(places: npt.NDArray[np.int64], size: int, key: int) -> npt.NDArray[np.int64]:
    """Where the permutation of [0, size) that `key` chooses sends each place; same shape as given."""
    from pipeline.kernels.permutation import permuted  # loads numba

    half_bits = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    found: npt.NDArray[np.int64] = permuted(np.ascontiguousarray(places), size, half_bits, _round_keys(key))
    return found


@lru_cache(maxsize=64)
def _round_keys(key: int) -> npt.NDArray[np.uint64]:
    return np.array([seed_of(key, "round", number) for number in range(ROUNDS)], np.uint64)
