"""What a person sees: progress with rates and ETA, tables, and one line for each thing worth knowing.

In a terminal there are live bars; elsewhere (a log file, CI, a cluster job) plain lines at most every few seconds.
Everything for people goes to stderr, so that what a command prints as its result can be piped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console(stderr=True, highlight=False, soft_wrap=True)
"""For people: stderr."""

PLAIN_SECONDS = 5.0
"""Least time between two progress lines when the output is no terminal."""


def note(message: str) -> None:
    """One line of information."""
    console.print(f"[dim]{escape(message)}[/dim]")


def warn(message: str) -> None:
    """Something that will probably go wrong."""
    console.print(f"[bold yellow]warning:[/bold yellow] {escape(message)}")


def headline(title: str, detail: str = "") -> None:
    """The beginning of a step."""
    console.print(f"[bold cyan]{escape(title)}[/bold cyan] {escape(detail)}")


def done(title: str, detail: str) -> None:
    """The end of a step."""
    console.print(f"[bold green]{escape(title)}[/bold green] {escape(detail)}")


def failed(message: str) -> None:
    """An error: the first words are red, the rest is for copying."""
    console.print(f"[bold red]error:[/bold red] {escape(message)}")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], prose: str | None = None) -> None:
    """A table; columns of numbers are aligned to the right, the first one and the one named `prose` to the left."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        if column == prose:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)


def shown(path: str) -> str:
    """A path for people: relative when it lies below the working directory."""
    here = f"{Path.cwd()}/"
    return path.removeprefix(here)


def size(amount: float) -> str:
    """Bytes for people: 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(amount) < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds for people: 3 d 04 h, 1 h 02 min, 3 min 05 s, 12 s."""
    whole = round(seconds)
    if whole >= 48 * 3600:
        return f"{whole // 86400:,} d {whole % 86400 // 3600:02d} h"
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class ShardProgress:
    """Shows the engine's steps (implements `pipeline.progress.Progress`)."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._bar = TaskID(0)
        self._started = 0.0
        self._last_line = 0.0
        self._documents = self._bytes = self._weight_done = self._weights = 0

    def begin(self, label: str, weights: int, finished: int, tasks: int) -> None:
        """A step starts."""
        self._started = self._last_line = time.monotonic()
        self._documents = self._bytes = self._weight_done = 0
        self._weights = max(1, weights - finished)
        skipped = f" ({finished / weights:.0%} is done already)" if finished else ""
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("  {task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=console,
                transient=False,
            )
            self._bars.start()
            self._bar = self._bars.add_task(escape(label + skipped), total=tasks, rate="")
        else:
            console.print(f"  {escape(label)}: {_counted(tasks, 'task')}{skipped}")

    def advance(self, label: str, weight: int, record: dict[str, Any]) -> None:
        """A shard is finished."""
        self._documents += record.get("documents", 0)
        self._bytes += record.get("text_bytes", 0)
        self._weight_done += weight
        elapsed = max(1e-3, time.monotonic() - self._started)
        rates = [f"{self._documents / elapsed:,.0f} documents/s"] if self._documents else []
        rates += [f"{self._bytes / elapsed / 1e6:.1f} MB/s"] if self._bytes else []
        rate = ", ".join(rates)
        if self._bars is not None:
            self._bars.update(self._bar, advance=1, rate=rate)
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            left = elapsed * (self._weights - self._weight_done) / max(1, self._weight_done)
            share = self._weight_done / self._weights
            state = ", ".join(part for part in (f"{share:.0%}", rate, f"{duration(left)} left") if part)
            console.print(f"  {escape(label)}: {state}")

    def end(self, label: str) -> None:
        """The step has ended."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def say(self, message: str) -> None:
        """One line."""
        console.print(f"  {escape(message)}")
