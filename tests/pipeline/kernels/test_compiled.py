"""Kernels are compiled once a machine and version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
