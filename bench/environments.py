"""Environments of the peers' own, made by pip on first use below `.bench/`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench.harness import CACHE
from pipeline.shard import fingerprint

INSTALL_SECONDS = 900
READY = ".ready"
"""Written last; holds what was asked for."""


class PeerMissing(Exception):
    """A peer cannot be installed here; the message says why in one line."""


def peer_python(name: str, requirements: tuple[str, ...]) -> Path:
    """The Python of the peer's environment, made when it is not there.

    Raises:
        PeerMissing: pip could not install it (no network, no wheel for this machine, ...).
    """
    folder = CACHE / "peers" / name
    python, ready, wanted = folder / "bin" / "python", folder / READY, fingerprint(requirements, sys.version)
    if ready.exists() and ready.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {' '.join(requirements)} into {folder} (once)", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=INSTALL_SECONDS)
        install = [str(python), "-m", "pip", "install", "--quiet", *requirements]
        subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired as fault:
        raise PeerMissing(f"pip did not finish within {INSTALL_SECONDS} s") from fault
    except subprocess.CalledProcessError as fault:
        lines = [line for line in fault.stderr.decode(errors="replace").splitlines() if "ERROR" in line]
        raise PeerMissing(lines[-1] if lines else f"pip ended with exit code {fault.returncode}") from fault
    ready.write_text(wanted)
    return python
