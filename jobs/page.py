"""How the report writes figures and foreign text: the template environment and its filters.

Everything is escaped by default. Foreign text also loses control characters and characters that turn the direction
of the text around, so that a hostile document can neither break the page nor mislead its reader.
"""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path
from typing import Any

import jinja2

_TEMPLATES = Path(__file__).with_name("templates")
_KEPT_CONTROLS = "\n\t"
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"


def page_environment() -> jinja2.Environment:
    """The environment that renders the templates in `jobs/templates`; an unknown name in a template is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=count, size=size, percent=percent, number=number, figure=figure, plain=plain)
    return environment


def count(value: float) -> str:
    """A whole number in groups of three: `1 234 567`."""
    return f"{round(value):,}".replace(",", _THIN_SPACE)


def size(value: float) -> str:
    """Bytes in the unit that fits, with three digits: `28.4 MB` (decimal units)."""
    for scale, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        # What rounds up to 1000 of a unit is written as 1 of the next.
        if value >= 0.9995 * scale:
            scaled = value / scale
            decimals = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{decimals}f}{_THIN_SPACE}{unit}"
    return f"{round(value)}{_THIN_SPACE}B"


def percent(share: float) -> str:
    """A share between 0 and 1; small ones keep two digits, so that nothing that happened reads as 0."""
    decimals = 1 if share == 0 or share >= 0.01 else 1 - math.floor(math.log10(100 * share))
    return f"{100 * share:.{decimals}f}{_THIN_SPACE}%"


def number(value: float) -> str:
    """A measured number with three decimals."""
    return f"{value:.3f}"


def figure(value: Any) -> str:
    """Any value of a manifest: whole numbers in groups, others short, text as plain text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain(str(value))
    return count(value) if isinstance(value, int) else f"{value:.4g}"


def plain(text: str) -> str:
    """Foreign text without control, formatting and unpaired surrogate characters."""
    return "".join(
        character if character in _KEPT_CONTROLS or unicodedata.category(character) not in _HIDDEN else _REPLACEMENT
        for character in text
    )
