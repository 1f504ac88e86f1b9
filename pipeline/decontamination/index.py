"""The n-grams of some evaluation sets as a table that documents are searched by.

An n-gram that occurs in more than so many items says nothing of any of them: it is the form of the benchmark ("Choose
the best answer ..."), and is left out.

Cost: 2 s and 90 MB for each million n-grams, once a process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from pipeline.decontamination.sets import EvaluationSet, items_of
from pipeline.errors import SettingError
from pipeline.kernels.column import TextColumn, column_of


@dataclass(frozen=True)
class Hits:
    """N-grams found in a batch; int64 [hits] each, in the order of the text."""

    documents: np.ndarray
    ngrams: np.ndarray
    starts: np.ndarray
    """Bytes of the column's data."""
    ends: np.ndarray


@dataclass(frozen=True, eq=False)
class NgramIndex:
    """N-grams and the items they are of."""

    names: tuple[str, ...]
    """Evaluation sets."""
    firsts: np.ndarray
    seconds: np.ndarray
    """uint64 [n-grams]: both hashes of each."""
    lasts: np.ndarray
    """uint64 [n-grams]: hash of the last `shortest` words of each."""
    lengths: np.ndarray
    """int64, descending: the lengths there are."""
    shortest: int
    offsets: np.ndarray
    """int64 [n-grams + 1]: items of n-gram g are offsets[g]:offsets[g + 1] of the following two."""
    sets: np.ndarray
    items: np.ndarray
    """int64: number of the set, and of the item in its file, from 1."""
    slots: np.ndarray
    bitmap: np.ndarray

    def find(self, column: TextColumn) -> tuple[Hits, np.ndarray]:
        """Hits, and for each document int64 [3]: words, places with a hit, words in hits."""
        from pipeline.kernels.overlap import find_ngrams, folds

        table = (self.firsts, self.seconds, self.slots, self.bitmap)
        hits, figures = find_ngrams(column.data, column.offsets, folds(), self.lengths, self.shortest, *table)
        return Hits(*hits.T), figures

    def without(self, ngrams: np.ndarray) -> NgramIndex:
        """The index without some of its n-grams: int64 [n-grams], each once."""
        from pipeline.kernels.overlap import build_table

        stays = np.ones(len(self.firsts), bool)
        stays[ngrams] = False
        sizes = np.diff(self.offsets)
        entries = np.repeat(stays, sizes)
        firsts, seconds, lasts = self.firsts[stays], self.seconds[stays], self.lasts[stays]
        slots, bitmap = build_table(firsts, lasts)
        return replace(
            self,
            firsts=firsts,
            seconds=seconds,
            lasts=lasts,
            offsets=np.cumsum(np.r_[0, sizes[stays]]),
            sets=self.sets[entries],
            items=self.items[entries],
            slots=slots,
            bitmap=bitmap,
        )

    def items_of(self, ngrams: np.ndarray) -> list[tuple[str, int]]:
        """Set and number of the items that these n-grams are of, each once, in order."""
        places = np.unique(ngrams)
        found = {
            (int(self.sets[entry]), int(self.items[entry]))
            for place in places.tolist()
            for entry in range(self.offsets[place], self.offsets[place + 1])
        }
        return [(self.names[number], item) for number, item in sorted(found)]


@lru_cache(maxsize=2)
def ngram_index(given: tuple[tuple[str, EvaluationSet], ...], n: int, min_words: int, max_items: int) -> NgramIndex:
    """The index of evaluation sets by name; see the fields of `Decontaminate`.

    Raises:
        SettingError: a set cannot be read, or has no n-gram that could be found.
    """
    from pipeline.kernels.overlap import build_table

    spans = {name: (entry.n or n, min(entry.min_words or min_words, entry.n or n)) for name, entry in given}
    shortest = min(least for _, least in spans.values())
    parts = [_ngrams(name, entry, *spans[name], shortest) for name, entry in given]
    rows = np.concatenate(parts)
    sets = np.repeat(np.arange(len(parts)), [len(part) for part in parts]).astype(np.uint64)
    # By n-gram, then set and item: each item once for each n-gram.
    order = np.lexsort((rows[:, 0], sets, rows[:, 3], rows[:, 2]))
    rows, sets = rows[order], sets[order]
    whole = np.column_stack([rows[:, 2], rows[:, 3], sets, rows[:, 0]])
    once = np.r_[True, np.any(whole[1:] != whole[:-1], axis=1)]
    rows, whole = rows[once], whole[once]
    starts = np.flatnonzero(np.r_[True, np.any(whole[1:, :2] != whole[:-1, :2], axis=1)])
    sizes = np.diff(np.r_[starts, len(whole)])
    common = sizes > max_items
    kept = starts[~common]
    chosen = ~np.repeat(common, sizes)
    left = set(whole[chosen, 2].tolist())
    if lost := [name for number, (name, _) in enumerate(given) if number not in left]:
        raise SettingError(
            f"evaluation set {', '.join(lost)}: all its n-grams are in more than max_items={max_items} items, so it "
            "would always be clean; raise max_items, or name `fields` that differ from item to item"
        )
    firsts, seconds = np.ascontiguousarray(rows[kept, 2]), np.ascontiguousarray(rows[kept, 3])
    lasts = np.ascontiguousarray(rows[kept, 4])
    slots, bitmap = build_table(firsts, lasts)
    return NgramIndex(
        names=tuple(name for name, _ in given),
        firsts=firsts,
        seconds=seconds,
        lasts=lasts,
        lengths=np.unique(rows[kept, 1])[::-1].astype(np.int64),
        shortest=shortest,
        offsets=np.cumsum(np.r_[0, sizes[~common]]),
        sets=whole[chosen, 2].astype(np.int64),
        items=whole[chosen, 3].astype(np.int64),
        slots=slots,
        bitmap=bitmap,
    )


def _ngrams(name: str, given: EvaluationSet, n: int, least: int, shortest: int) -> np.ndarray:
    """uint64 [n-grams, 5]: number of the item, then as `passage_ngrams` has them."""
    from pipeline.kernels.overlap import folds, passage_ngrams

    items = items_of(name, given)
    column = column_of([passage for passages in items for passage in passages])
    owners = np.repeat(np.arange(1, len(items) + 1, dtype=np.uint64), [len(passages) for passages in items])
    rows = np.empty((int(column.offsets[-1] - column.offsets[0]) + 1, 5), np.uint64)
    used, words = passage_ngrams(column.data, column.offsets, n, least, shortest, folds(), rows)
    if not used:
        longest = int(words.max(initial=0))
        raise SettingError(
            f"evaluation set {name}: its longest passage has {longest} words, fewer than min_words={least}; "
            "lower `min_words`, name longer `fields`, or remove the set"
        )
    found: np.ndarray = rows[:used].copy()
    found[:, 0] = owners[found[:, 0].astype(np.int64)]
    return found


def names_of(items: Sequence[tuple[str, int]], most: int) -> str:
    """`gsm8k:17, boolq:3 and 8 more`."""
    shown = ", ".join(f"{name}:{item}" for name, item in items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"
