"""`gptmill stages`: every source and stage with its fields, printed from the classes, which are their own help."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from pipeline.registry import SOURCES, STAGES, source_class, stage_class
from pipeline.settings import help_of


def show_stages() -> None:
    """Print all sources and stages to stdout."""
    console = Console(highlight=False)
    for title, names, class_of in (("Sources", SOURCES, source_class), ("Stages", STAGES, stage_class)):
        console.print(f"[bold]{title}[/bold]\n")
        for name in names:
            _show(console, name, class_of(name))


def _show(console: Console, name: str, kind: type[BaseModel]) -> None:
    console.print(f"[bold cyan]{name}[/bold cyan]")
    console.print(Padding(escape(cleandoc(kind.__doc__ or "")), (0, 0, 0, 2)))
    _show_fields(console, kind, 4, set())
    console.print()


def _show_fields(console: Console, kind: type[BaseModel], indent: int, told: set[str]) -> None:
    """The fields of a class and of those in it; what several of them say in the same words is said once."""
    for key, field in kind.model_fields.items():
        description = " ".join(help_of(kind, key).split())
        is_group = isinstance(field.default, BaseModel)
        default = ":" if is_group else f" = {escape(_default(field))}"
        console.print(Padding(f"[green]{key}[/green]{default}", (0, 0, 0, indent)))
        if description not in told:
            told.add(description)
            console.print(Padding(f"[dim]{escape(description)}[/dim]", (0, 0, 0, indent + 4)))
        if is_group:
            _show_fields(console, type(field.default), indent + 4, told)


def _default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "(required)" if field.default_factory is None else repr(field.default_factory())
    return repr(field.default)
