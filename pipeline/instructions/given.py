"""Conversations that the user gives as a file, in the forms in which they are shared.

messages    {"messages": [{"role": "user", "content": ...}, ...]}            (OpenAI, Hugging Face)
ShareGPT    {"conversations": [{"from": "human", "value": ...}, ...]}, `system` beside it or as a turn
Alpaca      {"instruction": ..., "input": ..., "output": ...}, `system` beside it; `input` may be missing

The form is told from each record's keys. The file is JSON Lines or one JSON array, plain, .gz or .zst. A record
that is none of these, or has no answer to learn from, goes to quarantine.jsonl with its place and the reason.
An array is read into memory whole; lines are streamed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipeline import storage
from pipeline.errors import UserError
from pipeline.instructions import store
from pipeline.shard import fingerprint
from pipeline.sources.docstrings import storable
from pipeline.sources.files import lines_of, open_decompressed
from pipeline.sources.source import Quarantine

QUARANTINE = "quarantine.jsonl"
VERSION = 1
"""Raised with every change of the code that changes the conversations."""

Messages = list[tuple[str, str]]
_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
}


def write_given(data: str, directory: str, max_bad_fraction: float) -> dict[str, Any]:
    """Write the conversations of the file `data`; nothing is done when they are there and valid.

    Returns:
        The manifest of `pipeline.instructions.store`, with `quarantined` (count).

    Raises:
        UserError: the file is missing, damaged or empty, or too large a share of its records is unreadable.
    """
    if not storage.exists(data):
        raise UserError(f"finetune.data: {data} does not exist: correct the path, or leave it out")
    identity = fingerprint("given-conversations", VERSION, storage.sha256_of(data))
    if manifest := store.finished(directory, identity):
        return manifest
    quarantine = Quarantine()
    conversations = list(_conversations(data, quarantine))
    bad, total = len(quarantine.entries), len(quarantine.entries) + len(conversations)
    with storage.write_atomically(storage.join(directory, QUARANTINE)) as file:
        for entry in quarantine.entries:
            file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
    if total == 0:
        raise UserError(f"finetune.data: {data} is empty: give a file with conversations")
    if not conversations or bad > max_bad_fraction * total:
        first = quarantine.entries[0]
        raise UserError(
            f"finetune.data: {bad} of {total} records of {data} cannot be used; the first is {first['line']}: "
            f"{first['reason']}. All are listed in {storage.join(directory, QUARANTINE)}"
        )
    return store.write(directory, identity, conversations, quarantined=bad)


def messages_of(record: Any) -> Messages:
    """The (role, content) pairs of one record.

    Raises:
        ValueError: says what is wrong with it.
    """
    if not isinstance(record, dict):
        raise ValueError(f"is not an object but a {type(record).__name__}")
    if "messages" in record:
        messages = _turns(record["messages"], "messages", "role", "content")
    elif "conversations" in record:
        messages = _turns(record["conversations"], "conversations", "from", "value")
    elif "instruction" in record and "output" in record:
        question = [_text(record["instruction"], "instruction"), _text(record.get("input") or "", "input")]
        asked = "\n\n".join(part for part in question if part.strip())
        messages = [("user", asked), ("assistant", _text(record["output"], "output"))]
    else:
        raise ValueError("has neither `messages`, nor `conversations`, nor `instruction` and `output`")
    if record.get("system"):
        messages.insert(0, ("system", _text(record["system"], "system")))
    answers = [content for role, content in messages if role == "assistant"]
    if not answers:
        raise ValueError("has no message of the assistant: there is nothing to learn")
    if any(not answer.strip() for answer in answers):
        raise ValueError("has an empty message of the assistant")
    return messages


def _turns(turns: Any, key: str, role_key: str, content_key: str) -> Messages:
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"`{key}` is not a list of turns")
    messages: Messages = []
    for place, turn in enumerate(turns, 1):
        if not isinstance(turn, dict) or role_key not in turn or content_key not in turn:
            raise ValueError(f"turn {place} of `{key}` has no `{role_key}` and `{content_key}`")
        role = _ROLES.get(str(turn[role_key]).lower())
        if role is None:
            raise ValueError(f"turn {place}: unknown role {turn[role_key]!r}; known: {', '.join(_ROLES)}")
        messages.append((role, _text(turn[content_key], f"turn {place}: `{content_key}`")))
    return messages


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text but a {type(value).__name__}")
    return storable(value)


def _conversations(data: str, quarantine: Quarantine) -> Iterator[dict[str, Any]]:
    name = storage.name_of(data)
    for place, raw in _records(data):
        try:
            record = json.loads(raw) if isinstance(raw, bytes) else raw
            messages = messages_of(record)
        except (ValueError, RecursionError) as fault:
            excerpt = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else json.dumps(raw)
            reason = f"is not JSON ({fault})" if isinstance(fault, json.JSONDecodeError) else str(fault)
            quarantine.add(data, place, reason, excerpt)
            continue
        given = record.get("id")
        identity = storable(given) if isinstance(given, str) and given else f"{name} {place}"
        yield store.conversation(identity, messages)


def _records(data: str) -> Iterator[tuple[str, Any]]:
    """Place and record: bytes of a line, or a parsed item of an array."""
    with open_decompressed(data) as stream:
        lines = lines_of(stream)
        for number, (_, line) in enumerate(lines, 1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if number == 1 and line.lstrip().startswith(b"["):
                yield from _items(data, b"\n".join([line, *(rest for _, rest in lines)]))
                return
            if line.strip():
                yield f"line {number}", line


def _items(data: str, content: bytes) -> Iterator[tuple[str, Any]]:
    try:
        items = json.loads(content)
    except ValueError as fault:
        raise UserError(f"finetune.data: {data} begins like a JSON array but is none ({fault}): mend it") from fault
    for number, item in enumerate(items, 1):
        yield f"item {number}", item
