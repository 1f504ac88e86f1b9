"""The report's charts: inline SVG that follows the page's colours, light and dark.

Decisions: drawn by Matplotlib in placeholder colours, which become CSS variables of the page, so one drawing serves
both themes. Text stays text (searchable, in the page's font), ids are prefixed so that many charts fit one page,
and the same figures give the same bytes. Matplotlib is loaded at the first chart only (about half a second).
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 5.4, 2.9
_VARIABLES = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--ghost)",
    "#060606": "var(--warm)",
}
INK, MUTED, LINE, ACCENT, GHOST, WARM = _VARIABLES
_DRAWING_FONT = "DejaVu Sans"
"""Comes with Matplotlib, so that text is measured alike on every machine; the page's own font replaces it."""
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": _DRAWING_FONT,
    "font.size": 10.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.solid_joinstyle": "round",
}


@dataclass(frozen=True)
class Line:
    """One curve of a chart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str = ACCENT
    marked: bool = False
    """Whether each point is shown: for curves of few points."""
    joined: bool = True
    """Whether a line joins the points."""


def line_chart(
    name: str,
    title: str,
    lines: Sequence[Line],
    unit: str,
    *,
    level: tuple[str, float] | None = None,
    from_zero: bool = False,
) -> str:
    """Curves over training steps; `level` draws a labelled horizontal line to compare with.

    Args:
        name: unique on the page; prefix of the chart's ids.
        title: what a screen reader says instead of the picture.
        unit: label of the vertical axis.
        from_zero: whether the vertical axis begins at zero, so that noise looks as small as it is.
    """

    def draw(axes: Axes) -> None:
        values = [value for line in lines for value in line.y if math.isfinite(value)]
        for line in lines:
            marker = "o" if line.marked or len(line.x) == 1 else ""
            style = "-" if line.joined else ""
            axes.plot(line.x, line.y, color=line.color, linestyle=style, marker=marker, ms=3, label=line.label)
        if level is not None:
            axes.axhline(level[1], color=WARM, linestyle=(0, (4, 3)), label=level[0])
            values.append(level[1])
        if values:
            _fit(axes, [*values, 0.0] if from_zero else values)
        if from_zero:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("step")
        axes.set_ylabel(unit)
        axes.margins(x=0.01)
        if len(lines) > 1 or level is not None:
            axes.legend(loc="best", fontsize=9.5)

    return _render(name, title, draw)


def _fit(axes: Axes, values: Sequence[float]) -> None:
    """Vertical limits that leave out the steepest start, so that the rest of a loss curve can be read."""
    low, high = min(values), max(values)
    ordered = sorted(values)
    usual = ordered[int(0.97 * (len(ordered) - 1))]
    if high - low > 3 * (usual - low) > 0:
        high = low + 1.6 * (usual - low)
    space = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
    axes.set_ylim(low - space, high + space)


def length_histogram(name: str, title: str, before: Sequence[int], after: Sequence[int]) -> str:
    """Documents by length in bytes, in bins that double; what was read behind what was kept."""
    filled = [index for index, count in enumerate(before) if count]
    first, last = (filled[0], filled[-1]) if filled else (0, 0)
    bins = range(first, last + 1)

    def draw(axes: Axes) -> None:
        axes.bar(list(bins), [before[index] for index in bins], width=0.86, color=GHOST, label="read")
        axes.bar(list(bins), [after[index] for index in bins], width=0.86, color=ACCENT, label="kept")
        ticks = list(bins)[:: max(1, math.ceil(len(bins) / 8))]
        axes.set_xticks([tick - 0.5 for tick in ticks], [_bytes_label(1 << tick) for tick in ticks])
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("length of the text")
        axes.set_ylabel("documents")
        axes.yaxis.set_major_formatter(lambda value, _: _count_label(value))
        axes.legend(loc="upper right", fontsize=9.5)

    return _render(name, title, draw)


def _bytes_label(size: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"


def _count_label(value: float) -> str:
    for scale, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= scale:
            return f"{value / scale:g}{unit}"
    return f"{value:g}"


def _render(name: str, title: str, draw: Callable[[Axes], None]) -> str:
    """Draw on new axes and return the SVG element."""
    import matplotlib
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inlined(file.getvalue(), name, title)


def _inlined(document: str, name: str, title: str) -> str:
    """A standalone SVG document as an element of the page."""
    body = document[document.index("<svg") :]
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    opening = rf'<svg viewBox="\1" role="img" aria-label="{html.escape(title)}">'
    body = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', opening, body, count=1)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r"\bxlink:href=", "href=", body)
    body = body.replace(f"font-family: '{_DRAWING_FONT}'", "font-family: inherit")
    for placeholder, variable in _VARIABLES.items():
        body = body.replace(placeholder, variable)
    return body
