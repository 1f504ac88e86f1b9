"""Settings explain themselves: the text under a field is its help, read only when someone asks."""

from __future__ import annotations

import subprocess
import sys

from pydantic import Field, create_model

from pipeline.registry import SOURCES, STAGES, source_class, stage_class
from pipeline.settings import Settings, help_of


class Base(Settings):
    first: int = 1
    """What the base says.

    In two paragraphs."""
    second: int = 2
    """Said by the base."""
    third: int = Field(default=3, description="Said by the field.")
    silent: int = 4


class Derived(Base):
    second: int = 5
    """Said by the class."""


def test_the_text_under_a_field_is_its_help_also_of_a_base_class() -> None:
    assert help_of(Derived, "first") == "What the base says.\n\nIn two paragraphs."
    assert help_of(Derived, "second") == "Said by the class."
    assert help_of(Base, "second") == "Said by the base."


def test_a_field_may_bring_its_own_description_or_none() -> None:
    assert help_of(Derived, "third") == "Said by the field."
    assert help_of(Derived, "silent") == ""


def test_a_class_without_source_code_has_the_help_of_its_bases() -> None:
    made = create_model("Made", __base__=Derived, more=(int, 1))
    assert help_of(made, "second") == "Said by the class."
    assert help_of(made, "more") == ""


def test_every_field_of_a_source_or_stage_has_help() -> None:
    for kind in (*map(source_class, SOURCES), *map(stage_class, STAGES)):
        assert [key for key in kind.model_fields if not help_of(kind, key)] == []


def test_importing_a_stage_reads_no_source_code() -> None:
    script = "import linecache; import pipeline.dedup.minhash; print(len(linecache.cache))"
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert said.stdout == "0\n"
