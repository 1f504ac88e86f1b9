"""`gptmill inspect tokens`: rows of a token dataset as a person reads them, with their documents marked.

Goes to standard output, in colours only on a terminal. What a text holds is never sent to the terminal as it is:
control characters, which could move the cursor or turn the writing around, are shown as escapes. A shard is checked by
its SHA-256 before a row of it is shown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
from rich.console import Console
from rich.markup import escape

from jobs.terminal import shown
from pipeline import storage
from pipeline.errors import SettingError
from pipeline.tokenizer.load import load_tokenizer, token_bytes
from pipeline.tokens.exporting import require_sound
from pipeline.tokens.format import TOKENIZER_COPY
from trainer.data.shard_cache import ShardCache, cache_folder
from trainer.data.token_dataset import Row, TokenDataset, TokenRows, find_dataset
from trainer.settings import PretrainSettings

WIDTH = 110
"""Letters in a line of tokens."""
_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_HARMLESS = {"\n", "\t", "\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"}


def inspect_tokens(place: str, count: int, split: str, row: int | None, source: str | None, with_tokens: bool) -> None:
    """Print rows of a token dataset.

    Args:
        place: Folder or URL of the dataset, or of a run.
        count: How many rows; with `row` only that one.
        split: `train` or `validation`.
        row: Number of a row; otherwise the first ones.
        source: Only rows that hold something of this source.
        with_tokens: Show each token with its id instead of the text.

    Raises:
        SettingError: there is no such row or source.
        UserError: the dataset is unfinished or damaged.
    """
    dataset = find_dataset(place)
    settings = PretrainSettings()
    rows = dataset.rows(split, ShardCache(cache_folder(None), settings.shard_cache_bytes))
    reading = _Reading(dataset)
    out = Console(highlight=False, soft_wrap=True)
    size = f"{rows.rows:,} rows of {dataset.context_length:,} tokens in {split}"
    packing = f"packing {dataset.manifest['packing']}, sources {', '.join(reading.sources)}"
    out.print(f"[bold]{escape(shown(dataset.url))}[/bold]: {size}; {escape(packing)}")
    for number in _chosen(rows, reading.sources, count, row, source):
        file, place_in_file = rows.file_of(number)
        if storage.is_local(dataset.url):
            require_sound(dataset.url, next(shard for shard in dataset.split(split)["shards"] if shard["file"] == file))
        out.print()
        out.print(f"[bold cyan]row {number}[/bold cyan] of {split}  [dim]{file}, row {place_in_file}[/dim]")
        for line in reading.lines(rows.row(number), with_tokens):
            out.print(line)


def _chosen(rows: TokenRows, sources: Sequence[str], count: int, row: int | None, source: str | None) -> Sequence[int]:
    if row is not None and not 0 <= row < rows.rows:
        raise SettingError(f"--row {row}: rows are numbered from 0 to {rows.rows - 1:,}")
    if source is not None and source not in sources:
        raise SettingError(f"--source {source}: the dataset has the sources {', '.join(sources)}")
    if source is None:
        return [row] if row is not None else range(min(count, rows.rows))
    found = (number for number in rows.rows_of_source(sources.index(source)) if row is None or number == row)
    chosen = list(islice(found, count))
    if not chosen:
        raise SettingError(f"--source {source}: no row{'' if row is None else f' {row}'} of this split holds any of it")
    return chosen


@dataclass(frozen=True)
class _Reading:
    """Turns rows into lines of Rich's markup.

    A row is context_length + 1 tokens; target i is token i + 1.
    """

    dataset: TokenDataset

    @property
    def sources(self) -> list[str]:
        found: list[str] = self.dataset.manifest["sources"]
        return found

    @cached_property
    def _texts(self) -> list[bytes]:
        url = storage.join(self.dataset.url, TOKENIZER_COPY)
        return token_bytes(load_tokenizer(url, self.dataset.manifest["tokenizer_fingerprint"]))

    @cached_property
    def _special(self) -> dict[int, str]:
        return {index: name for name, index in self.dataset.manifest["special_tokens"].items()}

    def lines(self, row: Row, with_tokens: bool) -> Iterator[str]:
        """Of one row: a headline and the text of each document, then the padding."""
        end_of_text = self.dataset.manifest["end_of_text_id"]
        starts = [0, *row.ends[:-1].tolist()]
        for number, (start, end, source) in enumerate(
            zip(starts, row.ends.tolist(), row.sources.tolist(), strict=True)
        ):
            context, targets = int(row.ids[start]), row.ids[start + 1 : end + 1]
            began = "begins" if context == end_of_text else f"goes on after {self._piece(context)}, where it was cut"
            ended = "ends" if int(targets[-1]) == end_of_text else "is cut here"
            yield (
                f"[yellow]document {number + 1} of {len(starts)}[/yellow], "
                f"source [green]{escape(visible(self.sources[source]))}[/green], targets {start} to {end - 1} "
                f"({end - start:,} tokens): {escape(began)}, {ended}"
            )
            yield from self._tokens(targets) if with_tokens else self._text(targets)
        if padding := len(row.ids) - 1 - int(row.ends[-1]):
            yield f"[yellow]padding[/yellow], targets {row.ends[-1]} to {len(row.ids) - 2} ({padding:,} tokens)"

    def _text(self, ids: np.ndarray) -> Iterator[str]:
        """The text of tokens, special ones in brackets that stand for no text."""
        parts, pending = [], b""
        for index in ids.tolist():
            if index in self._special:
                parts += [visible(pending.decode("utf-8", "replace")), f"⟦{self._special[index]}⟧"]
                pending = b""
            else:
                pending += self._texts[index]
        parts.append(visible(pending.decode("utf-8", "replace")))
        for line in "".join(parts).split("\n"):
            yield f"[dim]│[/dim] {escape(line)}"

    def _tokens(self, ids: np.ndarray) -> Iterator[str]:
        """Each token as id and piece, as many in a line as fit."""
        line, width = "", 0
        for index in ids.tolist():
            piece = self._piece(index)
            if line and width + len(f"{index} {piece}  ") > WIDTH:
                yield f"[dim]│[/dim] {line}"
                line, width = "", 0
            line += f"[dim]{index}[/dim] {escape(piece)}  "
            width += len(f"{index} {piece}  ")
        yield f"[dim]│[/dim] {line}"

    def _piece(self, index: int) -> str:
        if index in self._special:
            return f"⟦{self._special[index]}⟧"
        text = visible(self._texts[index].decode("utf-8", "backslashreplace"))
        return "“" + text.replace("\n", "\\n").replace("\t", "\\t") + "”"


def visible(text: str) -> str:
    """The text with control characters, but line ends and tabs, as escapes such as \\x1b."""
    return "".join(
        letter
        if letter in _HARMLESS or unicodedata.category(letter) not in _ESCAPED
        else letter.encode("unicode_escape").decode()
        for letter in text
    )
