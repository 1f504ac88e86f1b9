"""Kernels are compiled once a machine and version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from pipeline.kernels.compiled import ensure_compiled
ensure_compiled(["lines"], say=print)
"""


def run(folder: Path, **variables: str) -> str:
    environment = {**os.environ, "GPTMILL_KERNELS": str(folder), **variables}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_the_first_process_compiles_and_says_so_the_next_does_not(tmp_path: Path) -> None:
    assert "compiling text kernels" in run(tmp_path)
    compiled = sorted(path.name for path in tmp_path.rglob("*.nbc"))
    assert compiled
    assert run(tmp_path) == ""
    assert sorted(path.name for path in tmp_path.rglob("*.nbc")) == compiled


def test_another_processor_that_shares_the_folder_compiles_for_itself(tmp_path: Path) -> None:
    run(tmp_path)
    assert "compiling text kernels" in run(tmp_path, NUMBA_CPU_NAME="generic")


def test_what_is_compiled_is_loaded_without_the_compiler(tmp_path: Path) -> None:
    run(tmp_path)
    script = (
        "import sys; from pipeline.kernels import lines; lines.warm_up(); print('numba.np.arraymath' in sys.modules)"
    )
    environment = {**os.environ, "GPTMILL_KERNELS": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert said.stdout == "False\n"


CALL = """
import numba.core.caching
{before}
import numpy as np
from pipeline.kernels.compiled import _cache_type
from pipeline.kernels.hashing import slots_for
print(slots_for(np.int64(100)))
print("loaded" if slots_for.stats.cache_hits else "compiled", "by numba" if _cache_type() is None else "by us")
"""


def call(folder: Path, before: str = "") -> list[str]:
    environment = {**os.environ, "GPTMILL_KERNELS": str(folder)}
    script = [sys.executable, "-c", CALL.format(before=before)]
    return subprocess.run(script, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    assert call(folder) == ["256", "compiled by us"]
    return folder


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, -10])
def test_a_file_that_is_empty_or_cut_short_is_compiled_anew(
    compiled: Path, tmp_path: Path, ending: str, left: int
) -> None:
    folder = tmp_path / "kernels"
    shutil.copytree(compiled, folder)
    (path,) = folder.rglob(f"*slots_for*.{ending}")
    path.write_bytes(path.read_bytes()[:left])
    assert call(folder) == ["256", "compiled by us"]
    assert call(folder) == ["256", "loaded by us"]


def test_another_numba_without_the_classes_that_loading_uses_has_its_own_cache(tmp_path: Path) -> None:
    before = "import numba; del numba.core.runtime.nrt.rtsys"
    assert call(tmp_path, before) == ["256", "compiled by numba"]
    assert call(tmp_path, before) == ["256", "loaded by numba"]
