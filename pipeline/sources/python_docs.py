"""The documentation that is on every machine with Python: docstrings and READMEs of what is installed.

One document an object: its signature, as `help()` shows it, and its docstring. The qualified name is in the
id and the metadata, not in the text, so a function copied from one module to another is the duplicate that
it is.

Decisions: files are found through the RECORD that pip leaves for each distribution (the folder itself is
never listed, so its order and stray files do not matter) and parsed, never imported. Tests and vendored
copies are left out, and gptmill itself. Paths in slices and documents are relative to the installation: two
environments with the same packages give the same bytes. A file edited in place after installation is not
noticed.

Cost: about 4 CPU-ms a file. An environment with torch, ray, scipy, sympy and pandas has 15,000 files with
100,000 documents, 47 MB of text, in 62 CPU-seconds; a cap of 5,000 files gives a third of each.
"""

from __future__ import annotations

import csv
import importlib.metadata
import os
import platform
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from pydantic import Field

from pipeline.errors import UserError
from pipeline.shard import fingerprint
from pipeline.sources.docstrings import documented_objects, storable
from pipeline.sources.source import Quarantine, Slice, Source, batched, metadata_text

PYTHON = "python"
"""The name under which the standard library goes."""
_OURSELVES = "gptmill"
_SKIPPED_FOLDERS = frozenset(
    {"__pycache__", "_vendor", "_vendored", "vendor", "vendored"}
    | {"test", "tests", "idle_test", "idlelib", "lib2to3", "site-packages"}
)
_SKIPPED_FILES = re.compile(r"(test_.*|.*_test|conftest)\.py")


@dataclass(frozen=True)
class _File:
    """One thing to read: a Python file, or a README when `path` is empty."""

    package: str
    version: str
    path: str
    """Relative to the folder that the package is installed in, with forward slashes."""
    size: int
    content: str
    """Hash from the RECORD; the size for the standard library, which has none."""


class PythonDocs(Source):
    """Documentation of the installed Python packages and of Python itself."""

    kind = "python-docs"

    packages: tuple[str, ...] | None = None
    """Distributions to read, as pip names them. None: all that are installed."""
    standard_library: bool = True
    """Whether Python's own modules are read too."""
    readmes: bool = True
    """Whether the long descriptions (READMEs) of the packages are documents too."""
    max_files: int | None = Field(default=None, gt=0)
    """Most files to parse, drawn evenly over all packages by a hash of their names. None: all. 5,000
    files take about 20 CPU-seconds and give about 16 MB of text."""
    max_file_bytes: int = Field(default=1_000_000, gt=0)
    """Larger files are left out: they are generated tables, slow to parse and poor in prose."""
    files_per_slice: int = Field(default=300, gt=0)
    """Files that become one shard; about one CPU-second."""

    def plan(self) -> list[Slice]:
        """Slices of the chosen files, ordered by package and path.

        Raises:
            UserError: a package is not installed, or nothing is left to read.
        """
        files = sorted(self._files(), key=lambda file: (file.package, file.path))
        if not files:
            raise UserError(f"source {self.label} has nothing to read: name packages or set standard_library: true")
        if self.max_files is not None and len(files) > self.max_files:
            drawn = sorted(files, key=lambda file: fingerprint(file.package, file.path))[: self.max_files]
            files = sorted(drawn, key=lambda file: (file.package, file.path))
        return [
            _slice(files[first : first + self.files_per_slice]) for first in range(0, len(files), self.files_per_slice)
        ]

    def read(self, part: Slice, quarantine: Quarantine) -> Iterator[pa.Table]:
        """The documents of a slice, in the order of their definition; unparsable files go to quarantine."""
        yield from batched(self._documents(part, quarantine))

    def _files(self) -> Iterator[_File]:
        installed = _installed()
        names = sorted(installed) if self.packages is None else [canonical_name(name) for name in self.packages]
        for name in dict.fromkeys(names):
            if name not in installed:
                raise UserError(
                    f"source {self.label}: the package {name!r} is not installed: pip install it, or "
                    f"remove it from `packages`"
                )
            distribution = installed[name]
            if self.readmes and (description := _description(distribution)):
                yield _File(name, distribution.version, "", len(description), fingerprint(description))
            yield from self._importable(_recorded(name, distribution))
        if self.standard_library:
            yield from self._importable(_standard_library())

    def _importable(self, files: Iterator[_File]) -> Iterator[_File]:
        chosen = [file for file in files if file.size <= self.max_file_bytes and _is_documentation(file.path)]
        packages = {file.path.removesuffix("/__init__.py") for file in chosen}
        # a/__init__.py hides a.py from `import a`, and the two would claim the same names
        yield from (file for file in chosen if file.path.removesuffix(".py") not in packages)

    def _documents(self, part: Slice, quarantine: Quarantine) -> Iterator[dict[str, Any]]:
        seen: dict[str, int] = {}
        installed = _installed()
        for entry in part.arguments["files"]:
            package, path = entry["package"], entry["path"]
            if package not in installed and package != PYTHON:
                raise UserError(f"source {self.label}: the package {package!r} is not installed where this runs")
            found = _texts(package, path, installed.get(package), quarantine)
            for name, text, details in found:
                identity = f"{self.label}/{package}/{name}"
                seen[identity] = seen.get(identity, 0) + 1
                if seen[identity] > 1:  # overloads, setters, alternatives below if and try
                    identity = f"{identity}#{seen[identity]}"
                about = {**details, "package": package, "version": entry["version"]}
                yield {"id": identity, "text": text, "source": self.label, "metadata": metadata_text(about)}


def canonical_name(name: str) -> str:
    """The name of a distribution as the package index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _slice(files: list[_File]) -> Slice:
    first, last = files[0].package, files[-1].package
    keys = ("package", "version", "path")
    return Slice(
        label=first if first == last else f"{first} to {last}",
        arguments={"files": [{key: asdict(file)[key] for key in keys} for file in files]},
        stamp=fingerprint([asdict(file) for file in files]),
        input_bytes=sum(file.size for file in files),
    )


def _installed() -> dict[str, importlib.metadata.Distribution]:
    """Distributions by canonical name; the first on sys.path wins, as it does for `import`."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and canonical_name(name) != _OURSELVES:
            found.setdefault(canonical_name(name), distribution)
    return found


def _recorded(name: str, distribution: importlib.metadata.Distribution) -> Iterator[_File]:
    version = distribution.version
    # the csv itself: `distribution.files` makes a Path of each of 60,000 entries, which takes seconds
    for path, digest, size in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        if size.isdigit():
            yield _File(name, version, path, int(size), digest)


def _standard_library() -> Iterator[_File]:
    root = _standard_library_root()
    version = platform.python_version()
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - _SKIPPED_FOLDERS)
        for name in sorted(names):
            path = Path(folder, name)
            if name.endswith(".py"):
                size = path.stat().st_size
                yield _File(PYTHON, version, path.relative_to(root).as_posix(), size, str(size))


def _standard_library_root() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _is_documentation(path: str) -> bool:
    *folders, name = path.split("/")
    return (
        name.endswith(".py")
        and not _SKIPPED_FILES.fullmatch(name)
        and not _SKIPPED_FOLDERS.intersection(folders)
        and all(part.isidentifier() for part in (*folders, name.removesuffix(".py")))
    )


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _texts(
    package: str, path: str, distribution: importlib.metadata.Distribution | None, quarantine: Quarantine
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, text and metadata of each document of one file; no distribution means the standard library."""
    if distribution is not None and not path:
        yield "README", _description(distribution), {"kind": "readme", "qualified_name": package}
        return
    place = f"{package}: {path}"
    file = _standard_library_root() / path if distribution is None else Path(str(distribution.locate_file(path)))
    try:
        source = file.read_bytes()
    except FileNotFoundError:
        quarantine.add(place, 0, "listed in the package's RECORD but not there")
        return
    if b'"""' not in source and b"'''" not in source:
        return  # a third of all files; parsing them would find next to nothing
    try:
        for found in documented_objects(source, _module(path)):
            text = f"{found.signature}\n\n{found.docstring}" if found.signature else found.docstring
            details = {
                "kind": found.kind,
                "module": found.module,
                "qualified_name": found.qualified_name,
                "signature": found.signature,
                "parameters": found.parameters,
            }
            yield found.identity, text, details
    except ValueError as fault:
        quarantine.add(place, 0, f"cannot be parsed: {fault}")


def _description(distribution: importlib.metadata.Distribution) -> str:
    """Summary and README, as the package index shows them."""
    metadata = cast(Message, distribution.metadata)
    body = metadata.get("Description") or metadata.get_payload() or ""
    parts = [str(metadata.get("Summary") or ""), str(body)]
    return storable("\n\n".join(part.strip() for part in parts if part.strip()))
