"""The base of everything that can be written in a recipe.

A source, a stage or a step of the pipeline *is* a pydantic model: its fields are its YAML keys, the text under
each field is that key's help, and unknown keys are errors. There is no second place where options are listed.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Immutable, strict settings; the text under a field becomes its description."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),
    )
