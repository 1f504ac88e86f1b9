"""How many rows each step of a run takes: a constant, or a number that grows while the run is young.

With a ramp the batch has `start` rows at first and grows by `increment` at a time, in a straight line by the samples
seen so far, until it is full after `over` samples (GPT-3, appendix B; the stairs are Megatron-LM's). What a step takes
follows from its number alone, so the cursor of a run stays one integer, and nothing here knows of processes: all
layouts see the same samples in the same order.

Cost: one entry a stair at construction, a binary search a question; no list of steps.
"""

from bisect import bisect_right


class BatchRamp:
    """The rows of every step."""

    def __init__(self, rows_per_step: int, *, start: int | None = None, over: int = 0, increment: int | None = None):
        """Make the stairs.

        Args:
            rows_per_step: Rows of a full batch.
            start: Rows of the first step. None: the batch is always full.
            over: Samples until the batch is full.
            increment: Rows by which it grows. None: `start`.

        Raises ValueError when a number is not positive or the batch would have to shrink.
        """
        start = rows_per_step if start is None else start
        increment = start if increment is None else increment
        if min(rows_per_step, start, increment) < 1 or over < 0:
            raise ValueError(
                f"a batch needs a row at least: got {rows_per_step} rows, from {start} by {increment} over {over}"
            )
        if start > rows_per_step:
            raise ValueError(f"a batch cannot grow from {start} to {rows_per_step} rows")
        self.rows_per_step = rows_per_step
        """Rows of a full batch: no step has more."""
        stairs = -(-(rows_per_step - start) // increment)
        self._first_steps: list[int] = []
        self._first_samples: list[int] = []
        self._rows: list[int] = []
        step = samples = 0
        for stair in range(stairs):
            rows = start + stair * increment
            # The stair lasts while samples x stairs < (stair + 1) x over, that is, up to the next whole sample.
            steps = max(0, -(-(-(-over * (stair + 1) // stairs) - samples) // rows))
            if steps:
                self._add(step, samples, rows)
                step, samples = step + steps, samples + steps * rows
        self._add(step, samples, rows_per_step)

    def rows_of_step(self, step: int) -> int:
        """Rows that step `step` (the first is 0) takes."""
        return self._rows[bisect_right(self._first_steps, step) - 1]

    def samples_before(self, step: int) -> int:
        """Rows that all steps before step `step` take together: the samples that a run has seen by then."""
        stair = bisect_right(self._first_steps, step) - 1
        return self._first_samples[stair] + (step - self._first_steps[stair]) * self._rows[stair]

    def steps_within(self, samples: int) -> int:
        """Whole steps that take at most so many samples together."""
        stair = bisect_right(self._first_samples, samples) - 1
        return self._first_steps[stair] + (samples - self._first_samples[stair]) // self._rows[stair]

    @property
    def sizes(self) -> list[int]:
        """Rows of the stairs that are used, ascending; the last is the full batch."""
        return list(self._rows)

    def _add(self, step: int, samples: int, rows: int) -> None:
        self._first_steps.append(step)
        self._first_samples.append(samples)
        self._rows.append(rows)
