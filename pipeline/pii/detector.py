"""What a detector of personal data is: settings, a cheap pre-filter, and a search that validates what it finds.

The pre-filter is a regular expression in RE2's syntax that `pyarrow.compute` runs over the whole batch without
making Python strings. It must match every text in which `find` finds something (tested for each kind); texts that it
does not match cost nothing more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

from pipeline.settings import Settings

Action = Literal["replace", "drop", "count", "ignore"]


class Detector(Settings, ABC):
    """Finds one kind of personal data."""

    kind: ClassVar[str]
    """Name of the kind in counts and drop rules."""
    prefilter: ClassVar[str]
    """RE2 pattern found in every text that holds this kind."""

    action: Action = "replace"
    """What happens to a find: `replace` it by the placeholder, `drop` the document, only `count`, or `ignore` (do not
    search)."""
    placeholder: str
    """What stands in the text instead of a find."""

    @abstractmethod
    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each find, in order and without overlap."""
