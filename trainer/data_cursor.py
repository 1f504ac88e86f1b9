"""Where a run is in its data: which rows a step sees, read ahead of it.

The cursor is two integers, the step and `offset`, the samples that rollbacks have left out. All else is a pure function
of them (`trainer.data.order`), so nothing that was read ahead belongs to the state of a run.
"""

from trainer.data.batch import Batch
from trainer.data.prefetch import Prefetcher
from trainer.identity import Inputs
from trainer.parallel.layout import Layout


class DataCursor:
    """This process's share of the data of each step."""

    def __init__(self, inputs: Inputs, layout: Layout, rank: int) -> None:
        self._inputs, self._layout = inputs, layout
        self._copy = layout.coordinates(rank).data
        self._order = inputs.order()
        self.offset = 0
        """Samples left out so far; changed by `move`."""
        self._ahead = self._read_ahead()

    def batches(self, step: int) -> list[Batch]:
        """The micro-batches of step `step` (the first is 0); the same on all processes of a copy."""
        return self._ahead.get(step)

    def move(self, offset: int) -> None:
        """Leave out so many samples from now on."""
        self.close()
        self.offset = offset
        self._ahead = self._read_ahead()

    def samples_seen(self, steps: int) -> int:
        """Samples of the run's order that the first `steps` steps have used up or left out."""
        return self._inputs.batches.samples_before(steps) + self.offset

    def digest(self, step: int, offset: int) -> str:
        """Hash of the whole global batch of a step, after so many left out."""
        return self._inputs.data.train.batch(self._order.sample_ids(step, offset)).digest()

    def close(self) -> None:
        """Stop reading ahead."""
        self._ahead.close()

    def _read_ahead(self) -> Prefetcher[list[Batch]]:
        layout, source, offset = self._layout, self._inputs.data.train, self.offset

        def micro_batches(step: int) -> list[Batch]:
            ids = self._order.sample_ids(step, offset)
            rows = source.arranged(ids[layout.rows_of(self._copy, len(ids))])
            return [source.batch(rows[piece]) for piece in layout.micro_batches(len(ids))]

        return Prefetcher(micro_batches, self._inputs.steps)
