"""Shows what a training draws from which dataset: in its plan, and when it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.terminal import show_table


def show_mixture(table: Sequence[dict[str, Any]]) -> None:
    """Print what `MixturePlan.table` says: tokens by dataset and source, and how often each is gone through."""
    columns = ("dataset", "source", "tokens", "share", "epochs")
    rows = [
        (line["dataset"], line["source"], f"{line['tokens']:,}", f"{line['share']:.1%}", f"{line['epochs']:.2f}")
        for line in table
    ]
    show_table("trained on", columns, rows, prose="source")
