"""What the engine says while it works; the front of the house decides how to show it."""

from __future__ import annotations

from typing import Any, Protocol


class Progress(Protocol):
    """Receives the course of a step."""

    def begin(self, label: str, weights: int, finished: int, tasks: int) -> None:
        """A step starts: total weight, weight of what is already finished, number of tasks left to do."""

    def advance(self, label: str, weight: int, record: dict[str, Any]) -> None:
        """A task is finished; its record counts documents and bytes."""

    def end(self, label: str) -> None:
        """All tasks of the step have ended."""

    def say(self, message: str) -> None:
        """One line for the person watching."""


class Silent:
    """Shows nothing."""

    def begin(self, label: str, weights: int, finished: int, tasks: int) -> None:
        """Nothing."""

    def advance(self, label: str, weight: int, record: dict[str, Any]) -> None:
        """Nothing."""

    def end(self, label: str) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""
