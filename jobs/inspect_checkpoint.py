"""`gptmill inspect checkpoint`: of which run a checkpoint is, what it holds, and with --tensors every tensor.

Norms and hashes are of the full tensors, so they are the same in every layout: two checkpoints with the same state hash
hold the same state. Each tensor is read block by block, whatever its size.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from jobs.checkpoints import a_checkpoint, layout_text
from jobs.terminal import failed, note, show_table, shown
from trainer.checkpoint.directory import read_state
from trainer.checkpoint.reading import StateReader
from trainer.checkpoint.reshape import hashes_of, state_sha256
from trainer.checkpoint.seal import damage

_SHOWN = (
    ("step", "step"),
    ("tokens", "tokens"),
    ("samples", "samples"),
    ("optimizer_steps", "optimizer steps"),
    ("next_batch", "hash of the next batch"),
    ("format_version", "format"),
)
_WIDTH = 150
"""Columns of the table of tensors, at least."""
_OF_IDENTITY = ("kind", "seed", "data", "tokenizer")


def inspect_checkpoint(place: str, tensors: bool) -> int:
    """Print what a checkpoint, or the newest one of a run, holds; the exit code, 1 when it is damaged."""
    path = a_checkpoint(place)
    if problem := damage(path):
        failed(f"{path} is damaged: {problem}")
        return 1
    state = read_state(path)
    with StateReader(path) as reader:
        rows = [(name, state[key]) for key, name in _SHOWN if key in state]
        rows += [(name, state["identity"][name]) for name in _OF_IDENTITY if name in state.get("identity", {})]
        rows += [
            (
                "data x tensor x pipeline",
                f"{layout_text(state.get('layout', {}))}, {state.get('layout', {}).get('precision', '?')}",
            ),
            ("parameters", f"{reader.index.parameters:,}"),
            ("kinds", ", ".join(reader.index.kinds())),
            ("files", f"{len(reader.index.files())} of state"),
        ]
        hashes = {}
        if tensors:
            hashes = _show_tensors(reader)
        rows.append(("state hash", state_sha256(hashes or hashes_of(reader))))
    show_table(shown(str(path)), ("", "value"), rows, prose="value")
    return 0


def _show_tensors(reader: StateReader) -> dict[tuple[str, str], str]:
    """To standard output, not cut to the width of a pipe; returns the hashes."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("tensor", "kind", "shape", "norm", "lowest", "highest", "sha256"):
        table.add_column(column, justify="left" if column in ("tensor", "kind") else "right", no_wrap=True)
    hashes, wrong = {}, []
    for key, tensor in reader.index.tensors.items():
        figures = reader.figures(key)
        hashes[key] = figures.sha256
        shape = " x ".join(str(length) for length in tensor.slicing.shape)
        numbers = (f"{figures.norm:.6g}", f"{figures.smallest:.4g}", f"{figures.largest:.4g}")
        table.add_row(*key, shape, *numbers, figures.sha256[:16])
        if figures.not_finite:
            wrong.append(f"{figures.not_finite:,} of {key[0]} ({key[1]})")
    out = Console(highlight=False)
    out.width = max(out.width, _WIDTH)
    out.print(table)
    if wrong:
        note(f"values that are infinite or no number: {', '.join(wrong)}")
    return hashes
