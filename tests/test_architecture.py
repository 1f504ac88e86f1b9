"""The walls of the house: which part may import which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imports(package: str) -> Iterator[tuple[str, str]]:
    """(file, imported module) for every import statement of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield name, node.module


def importers(package: str, module: str) -> set[str]:
    return {name for name, found in imports(package) if found == module or found.startswith(module + ".")}


@pytest.mark.parametrize(
    ("package", "forbidden"), [("pipeline", "trainer"), ("pipeline", "jobs"), ("trainer", "jobs"), ("trainer", "ray")]
)
def test_imports_go_one_way(package: str, forbidden: str) -> None:
    assert importers(package, forbidden) == set()


def test_only_the_engines_import_their_library() -> None:
    assert importers("pipeline", "ray") == {"pipeline/engine.py"}
    assert importers("trainer", "deepspeed") == {"trainer/engine.py", "trainer/parallel/pipeline.py"}


def test_the_trainer_reads_only_the_formats_and_kernels_of_the_pipeline() -> None:
    allowed = {"pipeline", "pipeline.shard", "pipeline.storage", "pipeline.errors"}
    found = {item for item in imports("trainer") if item[1].startswith("pipeline")}
    assert {item for item in found if item[1] not in allowed and not item[1].startswith("pipeline.kernels.")} == set()


def test_no_file_grows_beyond_reading() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for package in ("pipeline", "trainer", "jobs", "bench")
        for path in (ROOT / package).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}
