"""The doctor finds what is broken, names it, and says what to do."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from jobs.diagnosis import libraries, machine, packages, ray
from jobs.diagnosis.check import Check, ProbeFailed, probe
from jobs.doctor import diagnose, exit_code, print_checks

REQUIREMENTS = [
    "numpy<3,>=1.26",
    "ray<3,>=2.56",
    'torch<3,>=2.6; extra == "train"',
    'gcsfs>=2024.6; extra == "gcs"',
    'pytest>=8; extra == "dev"',
    'colorama>=1; sys_platform == "win32"',
]


def versions(**installed: str) -> packages.Versions:
    return lambda name: installed.get(name.replace("-", "_"))


def states(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.state for check in checks}


def test_packages_in_their_ranges_are_one_line() -> None:
    checks = packages.check_packages(
        REQUIREMENTS, versions(numpy="2.4.6", ray="2.60.0", torch="2.13.0+cpu", gcsfs="2026.1")
    )
    assert [(check.name, check.state) for check in checks] == [("packages", "ok")]
    assert checks[0].found.startswith("4 packages")


def test_a_version_out_of_range_is_a_problem_that_names_both_and_the_cure() -> None:
    checks = packages.check_packages(
        REQUIREMENTS, versions(numpy="1.21.0", ray="2.60.0", torch="2.5.1", gcsfs="2026.1")
    )
    assert states(checks) == {"packages": "ok", "numpy": "problem", "torch": "problem"}
    numpy = next(check for check in checks if check.name == "numpy")
    assert "1.21.0" in numpy.found
    assert ">=1.26" in numpy.found
    assert "pip install 'numpy" in numpy.remedy


def test_a_missing_package_is_a_problem_and_a_missing_optional_one_is_not() -> None:
    checks = packages.check_packages(REQUIREMENTS, versions(numpy="2.4.6"))
    assert states(checks) == {"packages": "ok", "ray": "problem", "optional: train": "warning", "optional: gcs": "ok"}


def test_an_uninstalled_gptmill_is_a_problem() -> None:
    assert states(packages.check_packages(None)) == {"packages": "problem"}


def test_what_gptmill_declares_is_readable_and_holds_here() -> None:
    requirements = packages.declared_requirements()
    if requirements is None:
        pytest.skip("gptmill is not installed in this environment")
    assert exit_code(packages.check_packages(requirements)) == 0


def test_a_probe_returns_what_its_process_prints_last() -> None:
    assert probe("print('noise'); print('[1, 2]')", 30) == [1, 2]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ImportError('libcuda is missing')", "libcuda is missing"),
        ("import os; os._exit(139)", "exit code 139"),
        ("pass", "no answer"),
    ],
)
def test_a_broken_library_is_a_finding_and_not_a_crash(code: str, message: str) -> None:
    with pytest.raises(ProbeFailed, match=message):
        probe(code, 30)


def test_a_hanging_library_ends_with_the_time_limit() -> None:
    start = time.monotonic()
    with pytest.raises(ProbeFailed, match="within"):
        probe("import time; time.sleep(60)", 0.5)
    assert time.monotonic() - start < 10


def test_kernels_compile_and_say_where_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTMILL_KERNELS", str(tmp_path))
    check = libraries.check_kernels()
    assert check.state == "ok"
    assert str(tmp_path) in check.found
    assert list(tmp_path.rglob("*.nbc"))


def test_kernels_without_numba_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('llvmlite is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = libraries.check_kernels()
    assert check.state == "problem"
    assert "llvmlite is broken" in check.found


def test_a_library_that_cannot_be_imported_is_a_problem() -> None:
    check = libraries.check_import("no_such_library", "nothing")
    assert check.state == "problem"
    assert "no_such_library" in check.found


def test_a_torch_that_dies_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "_TORCH", "raise OSError('libtorch.so: cannot open')")
    check = libraries.check_torch()
    assert check.state == "problem"
    assert "libtorch.so" in check.found


@pytest.mark.parametrize(
    ("cuda", "devices", "state"), [("None", "[]", "warning"), ("'12.8'", "[]", "problem"), ("'12.8'", "['H200']", "ok")]
)
def test_torch_must_fit_the_driver(monkeypatch: pytest.MonkeyPatch, cuda: str, devices: str, state: str) -> None:
    answer = f"{{'version': '2.13', 'cuda': {cuda}, 'devices': {devices}, 'bf16': False, 'gloo': True}}"
    monkeypatch.setattr(libraries, "_TORCH", f"import json; print(json.dumps({answer}))")
    monkeypatch.setattr(libraries, "_driver_version", lambda: "535.104.05")
    assert libraries.check_torch().state == state


def test_a_stale_compilation_lock_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    assert libraries.check_extension_locks().state == "ok"
    lock = tmp_path / "py311_cpu" / "cpu_adam" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert libraries.check_extension_locks().state == "ok", "somebody may be compiling right now"
    os.utime(lock, (time.time() - 3600,) * 2)
    check = libraries.check_extension_locks()
    assert check.state == "warning"
    assert f"rm {lock}" in check.remedy


def test_an_address_where_nobody_answers_is_a_problem() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert ray.check_address({"RAY_ADDRESS": f"127.0.0.1:{port}"}).state == "problem"


@pytest.mark.parametrize("address", ["head-node", "127.0.0.1:port", "ray://"])
def test_an_address_that_is_none_is_a_problem(address: str) -> None:
    check = ray.check_address({"RAY_ADDRESS": address})
    assert check.state == "problem"
    assert address in check.found


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_an_address_that_answers_is_fine(form: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        assert ray.check_address({"RAY_ADDRESS": form.format(server.getsockname()[1])}).state == "ok"


def test_without_an_address_jobs_bring_their_own_ray() -> None:
    assert ray.check_address({}).state == "ok"


def test_token_authentication_without_a_token_is_a_problem(tmp_path: Path) -> None:
    assert ray.check_authentication({"RAY_AUTH_MODE": "token"}, tmp_path).state == "problem"
    assert ray.check_authentication({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "t"}, tmp_path).state == "ok"


def test_a_token_that_only_one_side_uses_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("t")
    with_cluster = {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_MODE": "disabled"}
    assert ray.check_authentication(with_cluster, tmp_path).state == "warning"
    assert ray.check_authentication({}, tmp_path).state == "ok", "an embedded Ray does not care"


def test_a_folder_need_not_exist_but_must_be_possible(tmp_path: Path) -> None:
    assert machine.check_folder("run directory", tmp_path / "runs" / "new").state != "problem"
    (tmp_path / "file").touch()
    blocked = machine.check_folder("run directory", tmp_path / "file" / "new")
    assert blocked.state == "problem"
    assert str(tmp_path / "file") in blocked.found


def test_a_folder_that_cannot_be_written_is_a_problem() -> None:
    read_only = Path("/proc/self")
    if not read_only.is_dir():
        pytest.skip("no /proc on this system")
    assert machine.check_folder("run directory", read_only / "runs").state == "problem"


def test_few_open_files_are_a_warning_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (256, 1_000_000))
    check = machine.check_open_files()
    assert check.state == "warning"
    assert "ulimit -n" in check.remedy


def test_only_problems_fail_and_every_finding_is_printed_with_its_remedy() -> None:
    checks = [
        Check("memory", "warning", "2.0 GiB free", "close programs"),
        Check("fasttext", "problem", "[red]two[/red] of them", "pip uninstall fasttext"),
    ]
    assert exit_code(checks[:1]) == 0
    assert exit_code(checks) == 1
    console = Console(file=io.StringIO(), width=100)
    print_checks(checks, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 problem, 1 warning." in printed
    for expected in ("close programs", "pip uninstall fasttext", "[red]two[/red] of them"):
        assert expected in printed


def test_a_whole_diagnosis_ends_in_time_and_covers_everything(tmp_path: Path) -> None:
    start = time.monotonic()
    names = {check.name for check in diagnose(tmp_path / "runs")}
    assert time.monotonic() - start < 240, "alone it takes under ten seconds; a busy machine compiles for long"
    assert {
        "Python",
        "memory",
        "packages",
        "text kernels",
        "language model",
        "tokenizers",
        "ray",
        "ray cluster",
    } <= names


def test_the_doctor_loads_no_heavy_library_itself() -> None:
    code = "import sys, jobs.doctor; print([name for name in ('torch', 'ray', 'pyarrow') if name in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
