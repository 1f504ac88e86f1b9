"""How our kernels are compiled: by numba, once a kind of processor and version, before the progress bar starts.

A kernel module holds functions decorated with `kernel` and one function `warm_up()` that calls each of them that
Python calls, on tiny arrays of the very types of real use. What numba makes of them is kept in a folder named after the
module and a digest of its source and of the kernel modules it imports: numba itself does not see when a function that
was inlined from another file changes.

Stages say in `kernels` which modules they use. `ensure_compiled` runs in the job before the first task (and says so),
and again in each worker, where it costs a look at one file: only the first worker on another machine (with a home
folder or a kind of processor of its own) compiles there.

Cost: 1 to 7 s a module when nothing is cached, on all cores side by side; some 50 ms to load one from the cache.
A home folder that cannot be written is replaced by the temporary folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pipeline.errors import UserError

FOLDER_VARIABLE = "GPTMILL_KERNELS"
"""Environment variable that names another folder for compiled kernels."""
_READY = "compiled"
POLL_SECONDS = 0.05
_IMPORTED = re.compile(r"^from pipeline\.kernels\.(\w+) import|^from pipeline\.kernels import (.+)$", re.MULTILINE)

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function on its first call and keep the result on disk; it holds no lock of the interpreter."""
    import numba  # a fifth of a second, which commands that compile nothing need not wait

    config: Any = numba.config
    before = config.CACHE_DIR
    # Read by numba when the decorator is applied, and at no other time.
    config.CACHE_DIR = str(_folder(function.__module__))
    try:
        cache_type = _cache_type()
        compiled: Any = numba.njit(nogil=True, error_model="numpy")(function)
        if cache_type is None or not hasattr(compiled, "_cache"):
            compiled = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
        else:
            compiled._cache = cache_type(function)
    finally:
        config.CACHE_DIR = before
    return cast(Function, compiled)


@cache
def _cache_type() -> Any:
    """numba's cache of compiled functions, but loading one does not load the compiler's rules of typing and lowering.

    numba imports these (and with them SciPy and cffi, where installed) before it reads what is compiled already, which
    needs none of them; compiling loads them in any case. And a file that cannot be read (empty, because the machine
    lost power; cut short) is compiled anew, where numba's cache raises.

    These classes are numba's own business: None, which means its own cache, when another version has them no more.
    """
    try:
        from numba.core.caching import FunctionCache
        from numba.core.runtime.nrt import rtsys
    except ImportError:
        return None
    used = ((FunctionCache, "_load_overload"), (FunctionCache, "flush"), (rtsys, "initialize"))
    if not all(hasattr(owner, name) for owner, name in used):
        return None

    class CompiledFunctions(FunctionCache):
        def load_overload(self, sig: Any, target_context: Any) -> Any:
            rtsys.initialize(target_context)  # the allocator of arrays
            try:
                return self._load_overload(sig, target_context)
            except Exception:
                # The library that made the file knows by its many ways to fail that it is damaged; we do not.
                self.flush()
                return None

    return CompiledFunctions


def ensure_compiled(modules: Iterable[str], say: Callable[[str], None] | None = None) -> None:
    """Compile the kernel modules (`words`, `lines`, ...) that this machine has not compiled yet, side by side.

    `say` is told before and after, with the time it took. Processes that come at the same time wait for one of them.

    Raises:
        UserError: a module could not be compiled; quotes the last line of why.
    """
    missing = [name for name in dict.fromkeys(modules) if not _is_ready(name)]
    if not missing:
        return
    started = time.perf_counter()
    if say:
        say(f"compiling text kernels, once on this machine: {', '.join(missing)}")
    # Not in this process: one interpreter compiles one function at a time.
    command = [sys.executable, "-c", f"from {__name__} import compile_modules; compile_modules({missing!r})"]
    place = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    compilers = [
        subprocess.Popen(command, env={**os.environ, "PYTHONPATH": place}, stderr=subprocess.PIPE, text=True)
        for _ in range(min(len(missing), len(os.sched_getaffinity(0))))
    ]
    for compiler in compilers:
        _, said = compiler.communicate()
        if compiler.returncode:
            reason = (said.splitlines() or [f"exit code {compiler.returncode}"])[-1]
            raise UserError(f"text kernels cannot be compiled ({reason}): `gptmill doctor` looks for the cause")
    if say:
        say(f"compiled in {time.perf_counter() - started:.1f} s; kept in {cache_folder()}")


def compile_modules(names: Iterable[str]) -> None:
    """Compile modules and before them those they import, in this process; what other processes are at is theirs.

    Returns when all are compiled. A process that dies leaves its module to the others.
    """
    waiting = list(dict.fromkeys(needed for name in names for needed in _sources(name)))
    while waiting := [name for name in waiting if not _is_ready(name)]:
        compiled = [name for name in waiting if not set(waiting) & set(_sources(name)) - {name} and _compile(name)]
        if not compiled:
            time.sleep(POLL_SECONDS)


def _compile(name: str) -> bool:
    """Compile one module whose imports are compiled, unless another process is at it."""
    folder = _folder(f"{__package__}.{name}")
    with Path(folder, "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not _is_ready(name):
            warm_up = getattr(importlib.import_module(f"{__package__}.{name}"), "warm_up", None)
            if warm_up:
                warm_up()
            Path(folder, _READY).touch()
    return True


def _is_ready(name: str) -> bool:
    return Path(_folder(f"{__package__}.{name}"), _READY).exists()


@cache
def _folder(module: str) -> Path:
    name = module.rpartition(".")[2]
    digest = hashlib.sha256(repr(sorted(_sources(name).items())).encode()).hexdigest()[:16]
    folder = cache_folder() / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sources(name: str) -> dict[str, str]:
    """Source text of a kernel module and of all it imports from this package; what is imported stands before."""
    found: dict[str, str] = {}

    def add(current: str) -> None:
        path = Path(__file__).with_name(f"{current}.py")
        if current in found or not path.is_file():
            return
        text = path.read_text(encoding="utf-8")
        for single, several in _IMPORTED.findall(text):
            for imported in [single] if single else several.strip("()").split(","):
                add(imported.split()[0])
        found[current] = text

    add(name)
    return found


@cache
def cache_folder() -> Path:
    """Where compiled kernels are kept: below $GPTMILL_KERNELS, the user's cache folder, or the temporary folder.

    Raises:
        OSError: none of them can be written.
    """
    import llvmlite.binding  # type: ignore[import-untyped]
    import numba

    # A home folder may be shared by machines whose processors differ; code is compiled for one of them.
    processor = os.environ.get("NUMBA_CPU_NAME") or llvmlite.binding.get_host_cpu_name()
    versions = f"python{platform.python_version()}-numba{numba.__version__}-{processor}"
    given = os.environ.get(FOLDER_VARIABLE)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "gptmill")
    for folder in (Path(given) if given else base, Path(tempfile.gettempdir(), f"gptmill-{os.getuid()}")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder / versions
    raise OSError(f"no folder for compiled kernels can be written: set {FOLDER_VARIABLE} to one")
