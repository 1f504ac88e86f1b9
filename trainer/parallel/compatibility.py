"""What a plan is asked for, and what an entry of the table of refusals is made of. The table: `refusals.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from pipeline.errors import UserError
from trainer.settings import ModelSettings, TrainingSettings


@dataclass(frozen=True)
class Request:
    """What a plan is asked for."""

    settings: TrainingSettings
    context_length: int
    """Tokens of a row."""
    model: ModelSettings | None = None
    """None: not known yet; its conditions are not looked at."""
    devices: int | None = None
    """Processes that there will be, one a device. None: as many as the settings ask for."""
    most_devices: int | None = None
    """Devices of this machine, all of which need not be used. None: no limit."""

    @property
    def share(self) -> int:
        """Processes of one data-parallel copy."""
        return self.settings.parallel.tensor * self.settings.parallel.pipeline

    @property
    def copies(self) -> int | None:
        """Data-parallel copies; None when they are not given and devices do not say."""
        if self.settings.parallel.data is not None:
            return self.settings.parallel.data
        devices = self.devices or self.most_devices
        return devices // self.share or None if devices is not None else None

    @cached_property
    def rows(self) -> int | None:
        """Rows of the global batch; None when it is no whole number of rows."""
        try:
            return self.settings.rows_per_step(self.context_length)
        except ValueError:
            return None


@dataclass(frozen=True)
class Refusal:
    """A combination that does not work."""

    what: str
    """The combination, for a list."""
    key: str
    """Key of the section at which the message is shown."""
    applies: Callable[[Request], bool]
    """The condition."""
    reason: str
    """Why it does not work."""
    remedy: str
    """What to do."""
    found: Callable[[Request], str] | None = None
    """The combination with the values that were given. None: `what`."""
    choices: Callable[[Request], str] | None = None
    """Which values would work here."""

    def message(self, request: Request) -> str:
        """One line: what was given, why that does not work, what to do."""
        found = self.what if self.found is None else self.found(request)
        line = f"{found}: {self.reason}; {self.remedy}"
        return line if self.choices is None else f"{line} ({self.choices(request)})"


class LayoutRefused(UserError):
    """One or more entries of the table apply. Exit code 2: the recipe must change."""

    exit_code = 2

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{key}: {message}" for key, message in problems))
        self.problems = problems
        """(key of the section, message) of each."""


def divisors(number: int) -> list[int]:
    """All that divide it, ascending."""
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def nearest_multiple(number: int, of: int) -> int:
    """The closest multiple, at least one."""
    return max(1, round(number / of)) * of
