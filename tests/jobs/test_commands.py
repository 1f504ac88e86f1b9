"""The list of commands: grouped in the help, each with words of its own, and the trainings alike."""

import re
from inspect import signature

from typer.testing import CliRunner

from jobs.cli import COMMANDS, app
from jobs.commands.steps import finetune, pretrain


def test_the_help_shows_every_command_in_its_group_and_order() -> None:
    output = re.sub(r"\x1b\[[0-9;]*m", "", CliRunner().invoke(app, ["--help"]).output)  # colours, where they are forced
    place = 0
    for group, commands in COMMANDS.items():
        place = output.index(f"─ {group} ─", place)
        for name, command in commands.items():
            assert command.__doc__
            place = output.index(f"│ {name} ", place)
    assert output.index("│ inspect ", place) > place


def test_both_trainings_are_told_the_same() -> None:
    assert signature(pretrain) == signature(finetune)
    assert {"launcher", "restarts", "allow", "print_command", "nodes", "devices", "mfu"} <= set(
        signature(finetune).parameters
    )
