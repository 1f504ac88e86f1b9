"""Opens the token datasets of a run, one or a mixture, as one source of rows.

Training rows are numbered one dataset behind the other. Validation rows of all datasets come so that the first of them
are of each dataset in proportion: a validation that takes only some is one of the whole mixture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.errors import UserError
from pipeline.shard import fingerprint
from trainer.data.batch import Batch, TextPart, TrainingData
from trainer.data.mixture import MixturePlan, plan_mixture
from trainer.data.shard_cache import ShardCache, cache_folder
from trainer.data.token_dataset import (
    TRAIN,
    VALIDATION,
    TokenDataset,
    TokenRows,
    find_dataset,
    require_rows,
    require_tokenizer,
    tokenizer_fingerprint,
    verify_checksums,
)
from trainer.settings import MixtureDataset, PretrainSettings

OWN = "own"
_ALONE = MixtureDataset(name=OWN, weight=1.0, max_epochs=float("inf"))
"""A run without a mixture."""


@dataclass(frozen=True)
class RunData:
    """The datasets of a run with what it draws from each; no shard was opened yet."""

    settings: PretrainSettings
    mixture: tuple[MixtureDataset, ...]
    datasets: tuple[TokenDataset, ...]
    plan: MixturePlan

    @property
    def bytes_to_fetch(self) -> int:
        """Of all shards that lie in object stores."""
        remote = [dataset for dataset in self.datasets if not storage.is_local(dataset.url)]
        return sum(shard.get("file_bytes", 0) for dataset in remote for shard in dataset.shards())

    @property
    def fingerprint(self) -> str:
        """Changes with any row, and with the names that a mixture gives its datasets."""
        if len(self.datasets) == 1:
            return self.datasets[0].fingerprint
        prints = [[entry.name, dataset.fingerprint] for entry, dataset in zip(self.mixture, self.datasets, strict=True)]
        return fingerprint("mixture", prints)

    def open(self, tokenizer: Path, verified: Path) -> TrainingData:
        """Rows of both splits, checked.

        Raises:
            UserError: a shard is missing or damaged, or the tokens were made with another tokenizer.
        """
        made_with = tokenizer_fingerprint(tokenizer)
        for dataset in self.datasets:
            require_tokenizer(dataset, tokenizer, made_with)
        verify_checksums(self.datasets, verified)
        cache = ShardCache(cache_folder(self.settings.shard_cache), self.settings.shard_cache_bytes)
        train, validation = ([dataset.rows(split, cache) for dataset in self.datasets] for split in (TRAIN, VALIDATION))
        alone, names = len(self.datasets) == 1, [entry.name for entry in self.mixture]
        return TrainingData(
            train=train[0] if alone else MixedRows(train),
            validation=validation[0] if alone else MixedRows(validation, interleaved=True, names=names),
            fingerprint=self.fingerprint,
            tokenizer_fingerprint=made_with,
            context_length=self.datasets[0].context_length,
            vocab_size=self.datasets[0].manifest["vocab_size"],
        )


def plan_run(settings: PretrainSettings, own: str) -> RunData:
    """Find the datasets of a run and divide the run among them; reads manifests alone.

    Args:
        settings: Of the run.
        own: Folder of the run's own dataset.

    Raises:
        UserError: a dataset is not there, two do not fit together, or the mixture cannot be drawn from them.
    """
    mixture = settings.mixture or (_ALONE,)
    places = [own if entry.data == OWN else entry.data for entry in mixture]
    datasets = tuple(find_dataset(place) for place in places)
    _require_alike(datasets)
    context_length = datasets[0].context_length
    splits = [dataset.split(TRAIN) for dataset in datasets]
    try:
        batches = settings.batches(context_length)
        steps = settings.total_steps(sum(split["rows"] for split in splits), context_length)
    except ValueError as error:
        raise UserError(str(error)) from None
    plan = plan_mixture(mixture, splits, batches.samples_before(steps), batches.rows_per_step, context_length)
    return RunData(settings, mixture, datasets, plan)


class MixedRows:
    """Rows of several datasets as one source."""

    def __init__(self, parts: Sequence[TokenRows], interleaved: bool = False, names: Sequence[str] = ()) -> None:
        """`names` of the datasets; without them a validation does not tell them apart."""
        self._parts = parts
        self.text_parts: tuple[TextPart, ...] = ()
        """See `RowSource.text_parts`: the datasets, and the sources of those that have several."""
        self._text_parts_before = []
        for name, part in zip(names, parts, strict=bool(names)):
            self._text_parts_before.append(len(self.text_parts))
            self.text_parts += _text_parts(name, part)
        self._starts = np.cumsum([0, *(part.rows for part in parts)])
        self.rows = int(self._starts[-1])
        """Rows of all datasets."""
        self.text_bytes: int | None = sum(part.text_bytes or 0 for part in parts)
        self._is_padded = any(part.is_padded for part in parts)
        self._order = _interleaving([part.rows for part in parts]) if interleaved else None

    def arranged(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rows as they are: all are of one length."""
        return rows

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """See `RowSource.batch`."""
        numbers = np.asarray(rows, np.int64)
        require_rows(numbers, self.rows)
        if self._order is not None:
            numbers = self._order[numbers]
        length = self._parts[0].context_length
        tokens = np.empty((2, len(numbers), length), np.int64)
        segments = np.empty((len(numbers), length), np.int32)
        mask = np.ones((len(numbers), length), np.bool_) if self._is_padded else None
        for part, chosen, local in self._of_parts(numbers):
            found = part.batch(local)
            tokens[0, chosen], tokens[1, chosen] = found.inputs, found.targets
            assert found.segments is not None
            segments[chosen] = found.segments
            if mask is not None and found.mask is not None:
                mask[chosen] = found.mask
        return Batch(tokens[0], tokens[1], mask, segments)

    def text_parts_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """See `RowSource.text_parts_of`."""
        numbers = rows if self._order is None else self._order[rows]
        found = np.zeros((len(numbers), self._parts[0].context_length), np.int64)
        for part, chosen, local in self._of_parts(numbers):
            before = self._text_parts_before[self._parts.index(part)] if self.text_parts else 0
            own = part.text_parts_of(local)
            found[chosen] = np.where(own < 0, -1, own + before)
        return found

    def _of_parts(
        self, numbers: npt.NDArray[np.int64]
    ) -> Iterator[tuple[TokenRows, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        places = np.searchsorted(self._starts, numbers, side="right") - 1
        for place in np.unique(places).tolist():
            chosen = np.flatnonzero(places == place)
            yield self._parts[place], chosen, numbers[chosen] - self._starts[place]


def _text_parts(name: str, part: TokenRows) -> tuple[TextPart, ...]:
    """Those of one dataset of a mixture."""
    if not part.text_parts:
        return (TextPart((name,), part.target_tokens, part.text_bytes or 0),)
    return tuple(
        TextPart((name, f"{name}/{source.groups[0]}"), source.tokens, source.text_bytes) for source in part.text_parts
    )


def _interleaving(counts: Sequence[int]) -> npt.NDArray[np.int64]:
    """All rows in an order whose every beginning has of each dataset its share, to about a row."""
    times = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    return np.argsort(times, kind="stable")


def _require_alike(datasets: Sequence[TokenDataset]) -> None:
    """Raises UserError when datasets cannot be trained on together, naming two of them."""
    first = datasets[0]
    for other in datasets[1:]:
        for key, what in (
            ("tokenizer_fingerprint", "tokenizers"),
            ("context_length", "context lengths"),
            ("vocab_size", "vocabulary sizes"),
            ("end_of_text_id", "end-of-text tokens"),
        ):
            if first.manifest[key] != other.manifest[key]:
                raise UserError(
                    f"pretrain.mixture: {first.name} and {other.name} have different {what} ({first.manifest[key]} and "
                    f"{other.manifest[key]}): make one of them again like the other"
                )
