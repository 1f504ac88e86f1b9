"""Documentation of installed packages, read from a small installation of its own."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.errors import UserError
from pipeline.shard import DOCUMENT_SCHEMA
from pipeline.sources import python_docs
from pipeline.sources.python_docs import PythonDocs
from pipeline.sources.source import Quarantine

README = "Cooks eggs.\n\nWrite to cook@example.org.\n"


def install(site: Path, name: str, version: str, files: dict[str, bytes], readme: str = "") -> None:
    """Lay out a distribution as pip does."""
    information = site / f"{name}-{version}.dist-info"
    information.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: The {name} package\n"
    (information / "METADATA").write_text(f"{head}\n{readme}", encoding="utf-8")
    record = []
    for path, content in files.items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        record.append(f"{path},sha256={hash_of(content)},{len(content)}")
    record.append(f"{information.name}/RECORD,,")
    (information / "RECORD").write_text("\n".join(record) + "\n")


def hash_of(content: bytes) -> str:
    return f"{len(content)}-{sum(content)}"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site-packages"
    pan = b'"""Pans."""\n\ndef fry(egg, fat="butter"):\n    """Fry an egg."""\n'
    install(
        folder,
        "Egg_Cook",
        "1.2",
        {
            "eggcook/pan.py": pan,
            "eggcook/__init__.py": b'"""Cooking."""\n',
            "eggcook/broken.py": b'"""Half',
            "eggcook/huge.py": b'"""Table."""\n' + b"# filler\n" * 1000,
            "eggcook/plain.py": b"value = 1\n",
            "eggcook/tests/test_pan.py": b'"""Tests."""\n',
            "eggcook/_vendor/other.py": b'"""Somebody else\'s."""\n',
            "eggcook.py": b'"""Hidden by the package of the same name."""\n',
            "../../bin/cook": b"#!/usr/bin/python\n",
            "eggcook/not-a-module.py": b'"""Not importable."""\n',
        },
        README,
    )
    install(folder, "copy", "0.1", {"copied.py": pan.replace(b"Pans", b"Copied pans")})
    install(folder, "gptmill", "9", {"gptmillish.py": b'"""Ourselves."""\n'})
    standard = tmp_path / "python"
    (standard / "test").mkdir(parents=True)
    (standard / "spoon.py").write_bytes(b'"""Spoons."""\n\ndef stir():\n    """Stir."""\n')
    (standard / "test" / "test_spoon.py").write_bytes(b'"""Tests."""\n')
    monkeypatch.setattr(sys, "path", [str(folder)])
    monkeypatch.setattr(python_docs, "_standard_library_root", lambda: standard)
    return folder


def documents(source: PythonDocs) -> tuple[list[dict[str, Any]], Quarantine]:
    quarantine = Quarantine()
    tables = [table for part in source.plan() for table in source.read(part, quarantine)]
    return pa.concat_tables(tables).to_pylist(), quarantine


SETTINGS: dict[str, Any] = {"max_file_bytes": 5000}


def test_objects_and_readmes_of_packages_and_of_python_become_documents(site: Path) -> None:
    found, _ = documents(PythonDocs(**SETTINGS))
    assert [(document["id"], document["text"]) for document in found] == [
        ("python-docs/copy/README", "The copy package"),
        ("python-docs/copy/copied", "Copied pans."),
        ("python-docs/copy/copied:fry", "fry(egg, fat='butter')\n\nFry an egg."),
        ("python-docs/egg-cook/README", "The Egg_Cook package\n\nCooks eggs.\n\nWrite to cook@example.org."),
        ("python-docs/egg-cook/eggcook", "Cooking."),
        ("python-docs/egg-cook/eggcook.pan", "Pans."),
        ("python-docs/egg-cook/eggcook.pan:fry", "fry(egg, fat='butter')\n\nFry an egg."),
        ("python-docs/python/spoon", "Spoons."),
        ("python-docs/python/spoon:stir", "stir()\n\nStir."),
    ]


def test_metadata_says_what_a_document_is_about(site: Path) -> None:
    found, _ = documents(PythonDocs(packages=("egg_cook",), standard_library=False, readmes=False, **SETTINGS))
    assert json.loads(found[-1]["metadata"]) == {
        "kind": "function",
        "module": "eggcook.pan",
        "package": "egg-cook",
        "parameters": ["egg", "fat"],
        "qualified_name": "eggcook.pan.fry",
        "signature": "fry(egg, fat='butter')",
        "version": "1.2",
    }


def test_documents_have_the_schema_of_all_sources(site: Path) -> None:
    source = PythonDocs(name="manuals", **SETTINGS)
    table = next(iter(source.read(source.plan()[0], Quarantine())))
    assert table.schema == DOCUMENT_SCHEMA
    assert set(table["source"].to_pylist()) == {"manuals"}


def test_a_file_that_cannot_be_parsed_goes_to_quarantine_and_the_others_are_read(site: Path) -> None:
    _, quarantine = documents(PythonDocs(**SETTINGS))
    assert [entry["file"] for entry in quarantine.entries] == ["egg-cook: eggcook/broken.py"]
    assert "cannot be parsed: SyntaxError" in quarantine.entries[0]["reason"]


def test_a_recorded_file_that_is_gone_goes_to_quarantine(site: Path) -> None:
    (site / "copied.py").unlink()
    _, quarantine = documents(PythonDocs(packages=("copy",), **SETTINGS))
    assert [entry["reason"] for entry in quarantine.entries] == ["listed in the package's RECORD but not there"]


def test_two_definitions_of_one_name_get_two_ids(site: Path) -> None:
    twice = b'def f():\n    """One."""\n\ndef f(x):\n    """Two."""\n'
    install(site, "twice", "1", {"twice.py": twice})
    found, _ = documents(PythonDocs(packages=("twice",), readmes=False, standard_library=False))
    assert [document["id"] for document in found] == [
        "python-docs/twice/twice:f",
        "python-docs/twice/twice:f#2",
    ]


def test_the_same_packages_installed_elsewhere_give_the_same_slices_and_documents(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PythonDocs(files_per_slice=2, **SETTINGS)
    here, plan_here = documents(source)[0], source.plan()
    elsewhere = tmp_path / "another" / "place"
    shutil.copytree(site, elsewhere)
    monkeypatch.setattr(sys, "path", [str(elsewhere)])
    assert source.plan() == plan_here
    assert documents(source)[0] == here
    assert str(tmp_path) not in json.dumps([part.arguments for part in plan_here]) + json.dumps(here)


def test_slicing_does_not_change_the_documents(site: Path) -> None:
    whole, _ = documents(PythonDocs(**SETTINGS))
    assert len(PythonDocs(files_per_slice=1, **SETTINGS).plan()) > 1
    assert documents(PythonDocs(files_per_slice=1, **SETTINGS))[0] == whole


def test_a_cap_keeps_a_part_of_the_files_in_the_same_order(site: Path) -> None:
    whole = [document["id"] for document in documents(PythonDocs(**SETTINGS))[0]]
    capped = [document["id"] for document in documents(PythonDocs(max_files=4, **SETTINGS))[0]]
    assert 0 < len(capped) < len(whole)
    assert capped == [identity for identity in whole if identity in capped]


def test_the_stamp_follows_the_content_of_the_package(site: Path) -> None:
    source = PythonDocs(packages=("copy",), standard_library=False, readmes=False)
    before = source.plan()[0].stamp
    shutil.rmtree(site / "copy-0.1.dist-info")
    install(site, "copy", "0.1", {"copied.py": b'"""New."""\n'})
    assert source.plan()[0].stamp != before


def test_a_package_that_is_not_installed_is_named(site: Path) -> None:
    with pytest.raises(UserError, match="package 'no-such-thing' is not installed"):
        PythonDocs(packages=("no_such.thing",)).plan()


def test_nothing_to_read_is_an_error(site: Path) -> None:
    with pytest.raises(UserError, match="nothing to read"):
        PythonDocs(packages=(), standard_library=False).plan()


def test_the_real_standard_library_is_read() -> None:
    source = PythonDocs(packages=(), max_files=12)
    found, _ = documents(source)
    assert {json.loads(document["metadata"])["package"] for document in found} == {"python"}
