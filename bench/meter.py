"""Runs one command and accounts for every process that it starts: `python -m bench.meter RESULT COMMAND...`.

Method, two counts of CPU-seconds (user + system) that can only be too small; the larger is reported:

- reaped: `getrusage(RUSAGE_CHILDREN)` after all are gone. The meter is their subreaper (prctl(2)), so daemons and
  orphans (Ray's are) end as its children. Exact to a tick, but a process that ignores SIGCHLD hides its children.
- sampled: `/proc/PID/stat` of the whole tree every `SAMPLE_SECONDS`, the last reading of each process summed. Misses
  what a process used after its last sample, at most `SAMPLE_SECONDS` each, and processes that lived between two.

Memory is the largest sum over the tree of PSS (shared pages counted once), RSS (counted in each process) and anonymous
pages (what programs allocated: no files, no libraries), each with its own peak, taken every `MEMORY_SECONDS`, or less
often where looking would take more than `MEMORY_SHARE` of the time; a shorter peak is missed. PSS divides a library's
pages among all processes of the machine that map it, so it falls when strangers start; for one process RSS is the
steadier figure. Wall time ends with the command itself. What other processes of the machine used meanwhile is
told too: a wall time taken beside them is no wall time. Cost: some hundredths of a core. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from pipeline import storage

SAMPLE_SECONDS = 0.1
MEMORY_SECONDS = 0.1
MEMORY_SHARE = 0.02
"""Looking at memory walks all pages of all processes: with many of them it is done less often."""
GRACE_SECONDS = 15.0
"""How long the command's descendants may outlive it before they are killed."""

_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")


def main(arguments: list[str]) -> int:
    """Run the command; write its figures to the file named first; return the command's exit code."""
    result, command = arguments[0], arguments[1:]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    busy = _machine_cpu_seconds()
    started = time.perf_counter()
    process = subprocess.Popen(command)
    tree = _Tree(os.getpid())
    ended = os.pidfd_open(process.pid)
    while not select.select([ended], [], [], SAMPLE_SECONDS)[0]:
        tree.sample()
    wall = time.perf_counter() - started
    tree.sample()
    code = process.wait()
    killed = _wait_for_descendants(tree)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    reaped, sampled = usage.ru_utime + usage.ru_stime, tree.cpu_seconds()
    used = max(reaped, sampled)
    elapsed = time.perf_counter() - started
    figures = {
        "exit_code": code,
        "wall_seconds": wall,
        "cpu_seconds": used,
        "reaped_cpu_seconds": reaped,
        "sampled_cpu_seconds": sampled,
        "peak_pss_bytes": tree.peak_pss,
        "peak_rss_bytes": tree.peak_rss,
        "peak_anonymous_bytes": tree.peak_anonymous,
        "processes": len(tree.ticks),
        "killed_processes": killed,
        "cores_used_by_others": max(0.0, (_machine_cpu_seconds() - busy - used) / elapsed),
    }
    storage.write_json(result, figures)
    return code if code >= 0 else 128 - code


class _Tree:
    """The descendants of a process, read from /proc."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._next_memory = 0.0
        self.ticks: dict[tuple[int, int], int] = {}
        """CPU ticks of each process at its last sample, by its id and start time (ids are used again)."""
        self.peak_pss = self.peak_rss = self.peak_anonymous = 0

    def sample(self) -> list[int]:
        """Look at all living descendants; returns their ids."""
        children: dict[int, list[int]] = defaultdict(list)
        found: dict[int, tuple[int, int]] = {}
        for name in os.listdir("/proc"):  # noqa: PTH208 (a Path a process would cost more than the reading)
            if not name.isdigit():
                continue
            try:
                # The command's name, in parentheses, may hold blanks; state and numbers follow it.
                fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            children[int(fields[1])].append(int(name))
            found[int(name)] = int(fields[19]), int(fields[11]) + int(fields[12])
        living, waiting = [], [self._root]
        while waiting:
            for process in children[waiting.pop()]:
                start, ticks = found[process]
                self.ticks[process, start] = ticks
                living.append(process)
                waiting.append(process)
        if time.monotonic() >= self._next_memory:
            began = time.thread_time()
            self._sample_memory(living)
            taken = time.thread_time() - began
            self._next_memory = time.monotonic() + max(MEMORY_SECONDS - SAMPLE_SECONDS / 2, taken / MEMORY_SHARE)
        return living

    def _sample_memory(self, living: list[int]) -> None:
        sums = {b"Pss:": 0, b"Rss:": 0, b"Anonymous:": 0}
        for process in living:
            try:
                content = Path(f"/proc/{process}/smaps_rollup").read_bytes()
            except OSError:
                continue
            for line in content.splitlines():
                name, _, amount = line.partition(b" ")
                if name in sums:
                    sums[name] += int(amount.split()[0]) << 10
        self.peak_pss = max(self.peak_pss, sums[b"Pss:"])
        self.peak_rss = max(self.peak_rss, sums[b"Rss:"])
        self.peak_anonymous = max(self.peak_anonymous, sums[b"Anonymous:"])

    def cpu_seconds(self) -> float:
        """User and system time of all processes ever seen."""
        return sum(self.ticks.values()) / _TICKS


def _wait_for_descendants(tree: _Tree) -> int:
    """Reap all that is left; kills what does not end. Returns how many were killed."""
    deadline = time.monotonic() + GRACE_SECONDS
    killed: set[int] = set()
    while True:
        try:
            process, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return len(killed)
        if process:
            continue
        living = tree.sample()
        if time.monotonic() > deadline:
            for orphan in living:
                killed.add(orphan)
                os.kill(orphan, signal.SIGKILL)
        time.sleep(0.02)


def _machine_cpu_seconds() -> float:
    """What all processes of the machine have used since it started: user, nice, system, irq, softirq."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields[index] for index in (0, 1, 2, 5, 6)) / _TICKS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
