"""What every benchmark is made of: measured commands, figures with their spread, goals, one line of JSON.

A figure is a number with its unit, or several of repeated runs (median, lowest and highest are told). A goal is a
bound on a figure. A goal on wall time cannot be judged while other processes use the cores: it is then shown as not
judged, with the reason, and neither meets nor fails. A benchmark ends with one line of JSON on stdout,
`{"bench": NAME, "goals_met": true|false, "figures": {...}, "goals": {...}}`, and exits with 0 or 1.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
"""The repository: commands run here."""
CACHE = ROOT / ".bench"
"""Inputs, outputs and the peers' environments; ignored by git, may be removed at any time."""
DATA = Path(os.environ.get("GPTMILL_DATA", ROOT.parent / "shared" / "data"))
"""Real data, where there are any: a folder with `corpus/`, `langid/`, `lm/` and `pii/`."""
QUIET_CORES = 0.25
"""Cores that others may use before a wall time is not believed: even on other cores they share caches and memory."""
QUOTED_LINES = 12


@dataclass(frozen=True)
class Measured:
    """What one command cost, with all processes it started (`bench.meter` says how it is counted)."""

    wall_seconds: float
    """From its start to its end."""
    cpu_seconds: float
    """User and system time of the whole tree; at most a tenth of a second per process too small."""
    peak_pss_bytes: int
    """Largest memory of the tree, shared pages counted once."""
    peak_rss_bytes: int
    """Largest memory of the tree, shared pages counted in each process."""
    peak_anonymous_bytes: int
    """Largest memory that the tree allocated: without files and libraries."""
    processes: int
    """Processes seen."""
    cores_used_by_others: float
    """Mean number of cores that processes outside the tree used meanwhile."""


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command in the repository's root and measure it.

    Raises:
        UserError: it failed; quotes its last lines.
    """
    with tempfile.TemporaryDirectory(prefix="gptmill-bench-") as folder:
        result = Path(folder, "result.json")
        metered = [sys.executable, "-m", "bench.meter", str(result), *command]
        with Path(folder, "log").open("w+b") as log:
            code = subprocess.run(
                metered, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=log, stderr=log, check=False
            ).returncode
            log.seek(0)
            said = log.read().decode(errors="replace").splitlines()
        if code != 0:
            quoted = "\n  ".join(said[-QUOTED_LINES:])
            raise UserError(f"{' '.join(command)} failed with exit code {code}; its last words:\n  {quoted}")
        figures = json.loads(result.read_bytes())
    return Measured(**{field.name: figures[field.name] for field in fields(Measured)})


def disturbance(measured: Sequence[Measured], cores: int = 1) -> str | None:
    """Why wall times of these runs, which use so many cores, cannot be judged; None when they can."""
    available = len(os.sched_getaffinity(0))
    if available < cores:
        return f"needs {cores} cores, this machine gives {available}"
    others = max(entry.cores_used_by_others for entry in measured)
    return f"other processes used up to {others:.1f} cores meanwhile" if others > QUIET_CORES else None


@dataclass(frozen=True)
class _Goal:
    figure: str
    bound: str
    """`at_least`, `at_most` or `equals`."""
    value: Any
    unjudged: str | None

    def met(self, found: Any) -> bool | None:
        if self.unjudged is not None:
            return None
        if self.bound == "equals":
            return bool(found == self.value)
        return bool(found >= self.value if self.bound == "at_least" else found <= self.value)


def data_folder(name: str) -> str | None:
    """The folder of real data of a kind (`corpus`, `pii`, ...), None when there is none."""
    return str(DATA / name) if (DATA / name).is_dir() else None


class Claim:
    """The figures and goals of one benchmark."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._figures: dict[str, Any] = {}
        self._units: dict[str, str] = {}
        self._goals: list[_Goal] = []

    def figure(self, name: str, values: float | str | bool | Sequence[float], unit: str = "") -> None:
        """Add a figure: one value, or those of repeated runs."""
        self._units[name] = unit
        if isinstance(values, (str, bool)):
            self._figures[name] = values
        elif isinstance(values, (int, float)):
            self._figures[name] = _rounded(values)
        elif len(values) == 1:
            self._figures[name] = _rounded(values[0])
        else:
            spread = {"median": statistics.median(values), "low": min(values), "high": max(values)}
            self._figures[name] = {key: _rounded(value) for key, value in spread.items()}

    def goal(
        self,
        figure: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        equals: Any = None,
        unjudged: str | None = None,
    ) -> None:
        """Bound a figure (the median of repeated runs); `unjudged` says why it cannot be judged this time."""
        bounds = {"at_least": at_least, "at_most": at_most, "equals": equals}
        bound, value = next((name, value) for name, value in bounds.items() if value is not None)
        self._goals.append(_Goal(figure, bound, value, unjudged))

    def result(self) -> dict[str, Any]:
        """What the last line says."""
        goals = {}
        for goal in self._goals:
            goals[goal.figure] = {goal.bound: goal.value, "met": goal.met(self._value(goal.figure))}
            if goal.unjudged:
                goals[goal.figure]["not_judged"] = goal.unjudged
        return {
            "bench": self.name,
            "goals_met": all(entry["met"] is not False for entry in goals.values()),
            "figures": self._figures,
            "goals": goals,
        }

    def finish(self) -> int:
        """Print the table (stderr) and the line of JSON (stdout); returns the exit code."""
        result = self.result()
        table = Table(title=self.name, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column, justify in (
            ("figure", "left"),
            ("value", "right"),
            ("lowest to highest", "right"),
            ("goal", "left"),
        ):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        for row in table_rows(result, self._units):
            table.add_row(*row)
        Console(stderr=True, highlight=False).print(table)
        print(json.dumps(result, ensure_ascii=False), flush=True)
        return 0 if result["goals_met"] else 1

    def _value(self, figure: str) -> Any:
        found = self._figures[figure]
        return found["median"] if isinstance(found, dict) else found


def table_rows(result: Mapping[str, Any], units: Mapping[str, str] | None = None) -> list[tuple[str, str, str, str]]:
    """A result as rows of figure, value, range and goal."""
    rows = []
    for name, found in result["figures"].items():
        unit = f" {units[name]}" if units and units.get(name) else ""
        value, spread = (
            (found["median"], f"{found['low']:g} to {found['high']:g}") if isinstance(found, dict) else (found, "")
        )
        text = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else f"{value:g}"
        rows.append((name.replace("_", " "), text + unit, spread, _goal_text(result["goals"].get(name))))
    return rows


def _goal_text(goal: Mapping[str, Any] | None) -> str:
    if goal is None:
        return ""
    bound = next(name for name in ("at_least", "at_most", "equals") if name in goal)
    verdict = f"not judged: {goal['not_judged']}" if goal["met"] is None else "met" if goal["met"] else "NOT MET"
    return f"{bound.replace('_', ' ')} {str(goal[bound]).lower()}: {verdict}"


def _rounded(value: float) -> float:
    """Four significant digits: more would pretend."""
    return value if isinstance(value, int) else float(f"{value:.4g}")
