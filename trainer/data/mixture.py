"""How a run draws its rows from several token datasets: the plan, and which row each place of the run takes.

The plan is arithmetic on manifests: budgets (`tokens`) become whole rows, what they leave of the run goes to the others
by `weight`, rounded by largest remainder. Then everything is a pure function of the row's place in the run, so that the
cursor stays one integer. The run is cut into blocks. How many rows of a dataset come before a block is its share of
them, rounded by largest remainder, so at each block's end every dataset is exact to less than a row, and at the end of
the run exact to the row. Inside a block the datasets alternate in an order drawn by seed and block. Each dataset is
gone through in its own order, epoch after epoch (`trainer.data.order`), as if it were alone.

A block has `BLOCK_ROWS` rows, or so many more that the rarest dataset has one in each: then counts never go back from
one block to the next. One dataset alone gives exactly the order of a run without a mixture.

Cost: a permutation of the block for each block that a step touches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import UserError
from trainer.batch_ramp import BatchRamp
from trainer.data.order import permute, positions_of, row_of
from trainer.seeds import seed_of
from trainer.settings import MixtureDataset

BLOCK_ROWS = 1024
LARGEST_BLOCK = 1 << 20


@dataclass(frozen=True)
class Share:
    """What a run draws from one dataset."""

    name: str
    rows: int
    """Training rows of the dataset."""
    drawn: int
    """Rows that the run draws from it."""
    sources: dict[str, int]
    """Tokens of the dataset by source."""

    @property
    def epochs(self) -> float:
        """How often the run goes through the dataset."""
        return self.drawn / self.rows

    def tokens_by_source(self, context_length: int) -> dict[str, int]:
        """Tokens that the run sees of each source: exact in whole epochs, in a part of one as chance has it."""
        total = max(1, sum(self.sources.values()))
        return {name: round(self.drawn * context_length * tokens / total) for name, tokens in self.sources.items()}


@dataclass(frozen=True)
class MixturePlan:
    """What a run draws from each dataset."""

    shares: tuple[Share, ...]
    context_length: int

    @property
    def rows(self) -> int:
        """Rows of the run."""
        return sum(share.drawn for share in self.shares)

    def table(self) -> list[dict[str, Any]]:
        """Rows of a table: dataset, source, tokens, share of the run, epochs."""
        lines = []
        for share in self.shares:
            found = share.tokens_by_source(self.context_length)
            lines += [
                {
                    "dataset": share.name,
                    "source": source,
                    "tokens": tokens,
                    "share": tokens / (self.rows * self.context_length),
                    "epochs": share.epochs,
                }
                for source, tokens in sorted(found.items())
            ]
        return lines


def plan_mixture(
    mixture: Sequence[MixtureDataset],
    splits: Sequence[dict[str, Any]],
    rows: int,
    rows_per_step: int,
    context_length: int,
) -> MixturePlan:
    """Divide the rows of a run among datasets.

    Args:
        mixture: The datasets as the recipe names them.
        splits: What each dataset's manifest says of its training split.
        rows: Of the run, over all steps.
        rows_per_step: Rows that a full step takes.
        context_length: Tokens of a row.

    Raises:
        UserError: budgets are more than the run, or fill it only partly; a dataset would be gone through more often
            than it may, or give too few rows to be spread.
    """
    drawn = _drawn(mixture, rows, rows_per_step, context_length)
    shares = []
    for entry, split, count in zip(mixture, splits, drawn, strict=True):
        sources = {name: int(found["tokens"]) for name, found in split.get("sources", {}).items()}
        share = Share(entry.name, int(split["rows"]), count, sources or {entry.name: int(split["target_tokens"])})
        if not count or count * LARGEST_BLOCK < rows:
            raise UserError(
                f"pretrain.mixture: {entry.name} would give {count:,} of {rows:,} rows, too few to be "
                "spread evenly: raise its weight or budget, or leave it out"
            )
        if share.epochs > entry.max_epochs:
            held = share.rows * context_length
            raise UserError(
                f"pretrain.mixture: {entry.name} would be gone through {share.epochs:.2f} times "
                f"({count * context_length:,} tokens drawn of {held:,}), its max_epochs is {entry.max_epochs:g}: "
                f"lower its weight or budget to at most {int(held * entry.max_epochs):,} tokens, shorten the run, or "
                "raise max_epochs"
            )
        shares.append(share)
    return MixturePlan(tuple(shares), context_length)


def apportion(seats: int, weights: Sequence[Fraction | int]) -> list[int]:
    """Whole numbers in proportion to the weights that sum to `seats`: largest remainders (Hamilton), first come."""
    total = sum(weights)
    quotas = [Fraction(seats * weight) / total for weight in weights]
    given = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda place: (given[place] - quotas[place], place))
    for place in by_remainder[: seats - sum(given)]:
        given[place] += 1
    return given


class MixtureOrder:
    """The order in which a run draws rows from datasets whose rows are numbered one dataset behind the other."""

    def __init__(self, plan: MixturePlan, batches: BatchRamp | int, seed: int) -> None:
        """`batches`: how many rows each step takes; a number: so many each."""
        shares = plan.shares
        self.batches = BatchRamp(batches) if isinstance(batches, int) else batches
        self.seed = seed
        self._sizes = [share.rows for share in shares]
        self._drawn = [share.drawn for share in shares]
        self._first = np.cumsum([0, *self._sizes]).tolist()
        self._rows = plan.rows
        self._block_rows = max(BLOCK_ROWS, -(-self._rows // min(self._drawn)))
        # Alone, a dataset is gone through as without a mixture.
        self._seeds = [seed] if len(shares) == 1 else [seed_of(seed, "dataset", share.name) for share in shares]
        self._block = lru_cache(maxsize=2)(self._make_block)

    def sample_ids(self, step: int, skipped: int = 0) -> npt.NDArray[np.int64]:
        """[rows of the step] the rows of the global batch of this step (the first is 0).

        Behind the end of the run it begins again, each dataset with the row after its last. `skipped` rows of the
        order, left out before this step, are never seen.
        """
        positions = positions_of(self.batches, step, skipped)
        laps, places = np.divmod(positions, self._rows)
        blocks = places // self._block_rows
        ids = np.empty_like(positions)
        for lap, block in np.unique(np.stack([laps, blocks]), axis=1).T.tolist():
            chosen = np.flatnonzero((laps == lap) & (blocks == block))
            datasets, draws = (part[places[chosen] - block * self._block_rows] for part in self._block(lap, block))
            for dataset, (size, seed) in enumerate(zip(self._sizes, self._seeds, strict=True)):
                own = datasets == dataset
                ids[chosen[own]] = self._first[dataset] + row_of(draws[own], size, seed)
        return ids

    def drawn_before(self, rows: int) -> list[int]:
        """Rows that each dataset has given when the first `rows` rows of the run, whole blocks or all, are done."""
        return apportion(rows, self._drawn)

    def _make_block(self, lap: int, block: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of each place in a block: its dataset, and the how many-th row drawn from that dataset it is."""
        start = block * self._block_rows
        end = min(start + self._block_rows, self._rows)
        before, after = self.drawn_before(start), self.drawn_before(end)
        counts = [last - first for first, last in zip(before, after, strict=True)]
        order = permute(np.arange(end - start), end - start, seed_of(self.seed, "block", lap, block))
        datasets = np.repeat(np.arange(len(counts)), counts)[order]
        draws = np.empty_like(datasets)
        for dataset, (first, count) in enumerate(zip(before, counts, strict=True)):
            draws[datasets == dataset] = lap * self._drawn[dataset] + first + np.arange(count)
        return datasets, draws


def _drawn(mixture: Sequence[MixtureDataset], rows: int, rows_per_step: int, context_length: int) -> list[int]:
    """Rows that the run draws from each dataset."""
    weights = [Fraction(entry.weight or 0) for entry in mixture]
    budgets = [(entry.tokens or 0) // context_length for entry in mixture]
    fixed = sum(budgets)
    said = " + ".join(f"{entry.tokens:,} of {entry.name}" for entry in mixture if entry.tokens is not None)
    arithmetic = (
        f"pretrain.mixture: the budgets ({said}) are {fixed * context_length:,} tokens in rows of {context_length:,}, "
        f"the run has {rows * context_length:,}"
    )
    if any(weights):
        if fixed >= rows:
            raise UserError(f"{arithmetic}, so nothing is left for weights: lower the budgets or make the run longer")
        shared = apportion(rows - fixed, weights)
        return [budget + part for budget, part in zip(budgets, shared, strict=True)]
    # A run has whole steps, budgets need not: less than a step is evened out.
    if fixed - rows >= rows_per_step:
        raise UserError(f"{arithmetic}: lower the budgets or make the run longer")
    if rows - fixed >= rows_per_step:
        raise UserError(
            f"{arithmetic}, so {(rows - fixed) * context_length:,} have no dataset: raise the budgets, give one "
            "dataset a weight instead, or make the run shorter"
        )
    return apportion(rows, budgets)
