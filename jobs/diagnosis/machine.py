"""The machine: Python, processor, memory, disks, limits, and whether folders can be written."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import psutil

from jobs.diagnosis.check import Check

OLDEST_PYTHON = (3, 11)
MEMORY_BYTES = 8 << 30
"""What the quickstart stays under."""
DISK_BYTES = 10 << 30
SHARED_MEMORY_BYTES = 512 << 20
"""Ray's object store takes 256 MiB; processes of one training exchange gradients through shared memory too."""
OPEN_FILES = 4096
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def check_python() -> Check:
    """Whether this Python is new enough."""
    found = f"{platform.python_implementation()} {platform.python_version()} in {sys.prefix}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("Python", "problem", found, f"use Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return Check("Python", "ok", found)


def check_platform() -> Check:
    """Whether the system is one that gptmill runs on."""
    found = f"{platform.system()} {platform.release()} on {platform.machine()}"
    if platform.system() != "Linux":
        return Check("system", "warning", found, "gptmill is tested on Linux; use a Linux machine or container")
    return Check("system", "ok", found)


def check_processor() -> Check:
    """Cores that this process may use, and vector instructions that training profits from."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    flags = [flag for flag in _FLAGS if flag in _cpu_flags()]
    found = f"{usable} of {os.cpu_count()} cores, {', '.join(flags) or 'no vector instructions known'}"
    if usable < 2:
        return Check("processor", "warning", found, "two cores or more let data-parallel training run side by side")
    return Check("processor", "ok", found)


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.split(":")[0].strip() in {"flags", "Features"})
    return set(next(lines, ":").split(":", 1)[1].split())


def check_memory() -> Check:
    """Memory that is free now, within the container's limit."""
    memory = psutil.virtual_memory()
    available, limit = memory.available, _container_limit()
    if limit is not None:
        available = min(available, limit)
    found = f"{_gib(available)} free of {_gib(min(memory.total, limit or memory.total))}"
    if available < MEMORY_BYTES:
        remedy = f"the quickstart wants {_gib(MEMORY_BYTES)}: close programs, or lower `workers` in the recipe"
        return Check("memory", "warning", found, remedy)
    return Check("memory", "ok", found)


def _container_limit() -> int | None:
    """The memory limit of the control group in bytes, None when there is none."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < psutil.virtual_memory().total:
            return int(text)
    return None


def check_open_files() -> Check:
    """How many files a process may have open; Ray opens many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES:
        remedy = f"run `ulimit -n {OPEN_FILES if hard == -1 else min(hard, 65536)}` before gptmill"
        return Check("open files", "warning", f"limit {soft}", remedy)
    return Check("open files", "ok", f"limit {soft}")


def check_shared_memory() -> Check:
    """Free space of /dev/shm, where Ray keeps its objects."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Check("/dev/shm", "warning", "not there", "Ray will be slow: mount a tmpfs there")
    free = shutil.disk_usage(folder).free
    if free < SHARED_MEMORY_BYTES:
        remedy = "Ray will spill to disk: in Docker give --shm-size=2g, elsewhere remove old files there"
        return Check("/dev/shm", "warning", f"{_gib(free)} free", remedy)
    return Check("/dev/shm", "ok", f"{_gib(free)} free")


def check_folder(name: str, folder: Path) -> Check:
    """Whether files can be made in a folder (or where it would be made), and how much space there is."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return Check(name, "problem", f"{place} is a file", "remove it or choose another `run:` directory")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as fault:
        remedy = "make the folder writable or choose another one"
        return Check(name, "problem", f"{place} cannot be written ({fault.strerror})", remedy)
    free = shutil.disk_usage(place).free
    if free < DISK_BYTES:
        remedy = f"a small run wants {_gib(DISK_BYTES)}: free some space or choose another disk"
        return Check(name, "warning", f"{place}, {_gib(free)} free", remedy)
    return Check(name, "ok", f"{place}, {_gib(free)} free")


def check_loopback() -> Check:
    """Whether processes of this machine can reach each other, as data-parallel training (gloo) needs."""
    try:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen(1)
            with socket.create_connection(server.getsockname(), timeout=2):
                pass
    except OSError as fault:
        remedy = "bring the loop-back interface up (`ip link set lo up`) and allow it in the firewall"
        return Check("loop-back network", "problem", f"127.0.0.1 does not answer ({fault})", remedy)
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        remedy = f"add `127.0.0.1 {socket.gethostname()}` to /etc/hosts, or set GLOO_SOCKET_IFNAME=lo"
        return Check("loop-back network", "warning", f"the name {socket.gethostname()} has no address", remedy)
    return Check("loop-back network", "ok", "127.0.0.1 answers")


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
