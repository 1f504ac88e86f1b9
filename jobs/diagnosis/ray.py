"""Ray's surroundings: authentication, the cluster that RAY_ADDRESS names, and what killed jobs left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from jobs.diagnosis.check import Check

_DAEMONS = ("raylet", "gcs_server")
_SESSIONS = ("/tmp/ray/session_2*", "/tmp/gptmill-ray-*")
_SESSION_LIMIT = 20
_CONNECT_SECONDS = 2.0


def check_authentication(environment: Mapping[str, str] = os.environ, home: Path | None = None) -> Check:
    """Whether token authentication is asked for and can be done, the same on both sides."""
    name = "ray authentication"
    mode = environment.get("RAY_AUTH_MODE", "")
    token = Path(environment.get("RAY_AUTH_TOKEN_PATH") or (home or Path.home()) / ".ray" / "auth_token")
    has_token = bool(environment.get("RAY_AUTH_TOKEN")) or token.exists()
    if mode == "token" and not has_token:
        remedy = "copy the cluster's token there, set RAY_AUTH_TOKEN, or set RAY_AUTH_MODE=disabled"
        return Check(name, "problem", f"RAY_AUTH_MODE=token but {token} is missing", remedy)
    if environment.get("RAY_ADDRESS") and has_token and mode != "token":
        found = f"{token} exists, so a cluster started on this machine may ask for it; RAY_AUTH_MODE={mode or 'unset'}"
        return Check(name, "warning", found, "set the same RAY_AUTH_MODE for the cluster and for gptmill")
    return Check(name, "ok", f"RAY_AUTH_MODE={mode}" if mode else "an embedded Ray needs none")


def check_address(environment: Mapping[str, str] = os.environ) -> Check:
    """Whether the cluster of RAY_ADDRESS answers; without it gptmill starts its own Ray."""
    name = "ray cluster"
    address = environment.get("RAY_ADDRESS", "").strip()
    if address in {"", "local"}:
        return Check(name, "ok", "RAY_ADDRESS is not set: each job starts a small Ray of its own")
    if address == "auto":
        return Check(name, "ok", "RAY_ADDRESS=auto: the cluster that runs on this machine")
    remedy = "start the cluster, mend RAY_ADDRESS (host:port), or unset it to work on this machine"
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None:
        return Check(name, "problem", f"RAY_ADDRESS={address} is not host:port", remedy)
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_SECONDS):
            pass
    except OSError as fault:
        return Check(name, "problem", f"RAY_ADDRESS={address} does not answer ({fault})", remedy)
    return Check(name, "ok", f"RAY_ADDRESS={address} answers")


def check_leftovers() -> Check:
    """Ray processes whose job is gone, and session folders that pile up."""
    orphans = []
    for process in psutil.process_iter(["name", "ppid", "pid", "uids"]):
        details = process.info
        mine = details["uids"] is not None and details["uids"].real == os.getuid()
        if mine and details["name"] in _DAEMONS and details["ppid"] == 1:
            orphans.append(f"{details['name']} (pid {details['pid']})")
    sessions = [path for pattern in _SESSIONS for path in Path("/").glob(pattern.lstrip("/")) if path.is_dir()]
    found = f"{len(orphans)} Ray process(es) without a parent, {len(sessions)} session folder(s)"
    if orphans:
        remedy = "unless you started a cluster here: wait a minute for them to end, or run `ray stop`"
        return Check("ray leftovers", "warning", f"{found}: {', '.join(orphans[:4])}", remedy)
    if len(sessions) > _SESSION_LIMIT:
        remedy = f"when no job runs: rm -r {' '.join(_SESSIONS)}"
        return Check("ray leftovers", "warning", found, remedy)
    return Check("ray leftovers", "ok", found)
