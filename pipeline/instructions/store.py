"""`conversations.jsonl` and its manifest: what the trainer finetunes on, wherever it comes from.

A line is `{"id", "messages": [{"role": "system" | "user" | "assistant", "content"}, ...]}`. `manifest.json` is
written last and names what the file was made of, so it is made again only when that changed or the file did.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline import storage
from pipeline.shard import finished_manifest

CONVERSATIONS = "conversations.jsonl"
MANIFEST = "manifest.json"
FORMAT_VERSION = 1


def finished(directory: str, identity: str) -> dict[str, Any] | None:
    """The manifest of conversations that were made of the same and are undamaged; None: make them."""
    manifest = finished_manifest(storage.join(directory, MANIFEST), FORMAT_VERSION, identity)
    target = storage.join(directory, CONVERSATIONS)
    if manifest is None or not storage.exists(target):
        return None
    return manifest if manifest.get("sha256") == storage.sha256_of(target) else None


def write(directory: str, identity: str, conversations: Iterable[dict[str, Any]], **facts: Any) -> dict[str, Any]:
    """Write both files and return the manifest: fingerprint, conversations (count), sha256 and the `facts`."""
    target = storage.join(directory, CONVERSATIONS)
    count = 0
    with storage.write_atomically(target) as file:
        for conversation in conversations:
            file.write(json.dumps(conversation, ensure_ascii=False).encode() + b"\n")
            count += 1
    manifest = {
        "format_version": FORMAT_VERSION,
        "fingerprint": identity,
        "conversations": count,
        "sha256": storage.sha256_of(target),
        **facts,
    }
    storage.write_json(storage.join(directory, MANIFEST), manifest)
    return manifest


def conversation(identity: str, messages: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """One line, of (role, content) pairs."""
    return {"id": identity, "messages": [{"role": role, "content": content} for role, content in messages]}
