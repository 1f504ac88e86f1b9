"""The base of everything that can be written in a recipe.

A source, a stage or a step of the pipeline *is* a pydantic model: its fields are its YAML keys, the text under
each field is that key's help, and unknown keys are errors. There is no second place where options are listed.

Decisions: the texts are read from the source code when someone asks for them. pydantic would do so for each class when
its module is imported, which takes a tenth of a second of every command and worker.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Immutable, strict settings; the text under a field is its help."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        protected_namespaces=(),
    )


def help_of(kind: type[BaseModel], key: str) -> str:
    """What the text under a field says, or the field's own `description`; empty when there is neither."""
    for place in kind.__mro__:
        if key in _texts_under_fields(place):
            return _texts_under_fields(place)[key]
    return kind.model_fields[key].description or ""


@cache
def _texts_under_fields(kind: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):  # made by a program, or built in
        return {}
    (body,) = (statement.body for statement in ast.parse(source).body if isinstance(statement, ast.ClassDef))
    found: dict[str, str] = {}
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(said))):
                found[key] = inspect.cleandoc(said)
    return found
