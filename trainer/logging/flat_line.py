"""A line of metrics.jsonl as the flat list of numbers that loggers take."""

from typing import Any


def flatten(line: dict[str, Any], separator: str = "/") -> dict[str, float]:
    """The numbers of a line by the path of their keys; words and what is None are left out."""
    flat: dict[str, float] = {}
    for key, value in line.items():
        if isinstance(value, dict):
            flat |= {f"{key}{separator}{name}": number for name, number in flatten(value, separator).items()}
        elif isinstance(value, int | float):
            flat[key] = value
    return flat
