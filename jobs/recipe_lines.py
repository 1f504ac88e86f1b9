"""Where in a YAML file each key stands, so that an error can name file and line."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a recipe."""

    location: Location
    """Path to the key: ("stages", 1, "language", "keep")."""
    message: str
    """What is wrong and what to do."""


class RecipeLines:
    """Line numbers by the path of the key."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Location, int] = {}
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            self._visit(node, ())

    def _visit(self, node: yaml.Node, location: Location) -> None:
        self._lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                below = (*location, str(key.value))
                self._lines[below] = key.start_mark.line + 1
                self._visit(value, below)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._visit(value, (*location, index))

    def line(self, location: Location) -> int | None:
        """The line of the key, or of the closest key above it; None when it is not in the file at all."""
        for length in range(len(location), 0, -1):
            if location[:length] in self._lines:
                return self._lines[location[:length]]
        return None


def dotted(location: Location) -> str:
    """The location as a person writes it: `stages[1].language.keep`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
