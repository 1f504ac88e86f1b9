"""Questions about the documented objects of the final corpus, answered by their own docstrings.

Decisions: the questions are made after cleaning, so what was dropped or masked in the corpus is not taught later.
Each object gives at most one pair of each kind (purpose, call, all parameters, one parameter, result, module); the
phrasing is drawn by a hash of the name. A question that was asked before is not asked again, whatever its answer:
two answers to one question teach nothing. When there are more pairs than `max_pairs`, those with the smallest
hashes stay, so the mix is that of the whole corpus and memory is bounded by the cap.

Cost: about 0.06 CPU-ms a document; 34,000 documents give 48,000 pairs.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pipeline.errors import UserError
from pipeline.instructions import store
from pipeline.instructions.sections import DocstringParts, docstring_parts
from pipeline.settings import Settings
from pipeline.shard import StageDirectory, fingerprint

VERSION = 1
"""Raised with every change of the code that changes the pairs."""

_PHRASES = {
    "purpose": (
        "What does `{name}` do?",
        "What is `{name}` for?",
        "Explain `{name}`.",
        "Tell me what the {kind} `{name}` does.",
        "I found `{name}` in some code. What is it?",
    ),
    "call": (
        "How do I call `{name}`?",
        "What is the signature of `{name}`?",
        "Show me how `{name}` is called.",
    ),
    "parameters": (
        "What are the parameters of `{name}`?",
        "Which arguments does `{name}` take?",
        "List the parameters of the {kind} `{name}`.",
    ),
    "parameter": (
        "What does the parameter `{parameter}` of `{name}` mean?",
        "What is `{parameter}` in a call of `{name}`?",
        "What do I pass as `{parameter}` to `{name}`?",
    ),
    "result": (
        "What does `{name}` return?",
        "What do I get back from `{name}`?",
    ),
    "module": (
        "Which module has the {kind} `{short}`?",
        "Where do I import `{short}` from?",
    ),
}
_JUNK = re.compile(r"todo|fixme|see |same as |alias for|deprecated|internal|\.\.\.|docstring|noqa|overridden", re.I)
_WORD = re.compile(r"[A-Za-z]{2,}")


class PythonDocsQuestions(Settings):
    """Makes conversations from the documents of a `python-docs` source."""

    max_pairs: int = Field(default=20_000, gt=0)
    """Most question and answer pairs."""
    max_answer_words: int = Field(default=120, gt=0)
    """Longer answers are cut at a paragraph or a parameter, or left out where there is no such place."""
    min_answer_words: int = Field(default=4, gt=0)
    """Explanations shorter than this are left out (calls and modules are short by nature)."""


@dataclass(frozen=True)
class _Subject:
    """One documented object as the corpus holds it."""

    name: str
    kind: str
    module: str
    signature: str
    parameters: tuple[str, ...]
    parts: DocstringParts


def write_questions(corpus: StageDirectory, directory: str, settings: PythonDocsQuestions) -> dict[str, Any]:
    """Write the questions as conversations; nothing is done when they are there and valid.

    Returns:
        The manifest of `pipeline.instructions.store`, with `by_kind` (counts) and `corpus_fingerprint`.

    Raises:
        UserError: the corpus holds no document that a question could be made of.
    """
    identity = fingerprint("python-docs-questions", VERSION, settings.model_dump(mode="json"), corpus.fingerprint)
    if manifest := store.finished(directory, identity):
        return manifest
    pairs = _chosen(corpus, settings)
    if not pairs:
        raise UserError(
            f"{corpus.url} has no documents of a python-docs source left to make questions of: "
            f"add `python-docs` to the sources, or give `finetune.data`"
        )
    conversations = (
        store.conversation(f"{kind}-{_draw(question):016x}", [("user", question), ("assistant", answer)])
        for kind, question, answer in pairs
    )
    by_kind = dict(sorted(Counter(kind for kind, _, _ in pairs).items()))
    return store.write(directory, identity, conversations, corpus_fingerprint=corpus.fingerprint, by_kind=by_kind)


def questions(text: str, metadata: str | None, settings: PythonDocsQuestions) -> Iterator[tuple[str, str, str]]:
    """Kind, question and answer of each pair that one document gives; none for other sources' documents."""
    subject = _subject(text, metadata)
    if subject is None:
        return
    for kind, answer, chosen in _answers(subject, settings):
        phrases = _PHRASES[kind]
        phrase = phrases[_draw(f"{kind} {subject.name}") % len(phrases)]
        short = subject.name.removeprefix(f"{subject.module}.")
        question = phrase.format(name=subject.name, kind=subject.kind, parameter=chosen, short=short)
        yield kind, question, answer


def _chosen(corpus: StageDirectory, settings: PythonDocsQuestions) -> list[tuple[str, str, str]]:
    """The pairs with the smallest hashes, in the order of those."""
    asked: set[int] = set()
    heap: list[tuple[int, str, str, str]] = []
    for batch in corpus.batches():
        for text, metadata in zip(batch["text"].to_pylist(), batch["metadata"].to_pylist(), strict=True):
            for kind, question, answer in questions(text, metadata, settings):
                draw = _draw(question)
                if draw in asked:
                    continue
                asked.add(draw)
                entry = (-draw, kind, question, answer)
                if len(heap) < settings.max_pairs:
                    heapq.heappush(heap, entry)
                else:
                    heapq.heappushpop(heap, entry)
    return [entry[1:] for entry in sorted(heap, reverse=True)]


def _subject(text: str, metadata: str | None) -> _Subject | None:
    about = json.loads(metadata) if metadata else {}
    name, kind = about.get("qualified_name"), about.get("kind")
    if not name or kind not in {"module", "class", "function", "method", "property"}:
        return None
    if any(part.startswith("_") for part in name.split(".")):
        return None
    signature = about.get("signature") or ""
    docstring = text if kind == "module" else text.partition("\n\n")[2]  # the source puts the signature first
    parameters = tuple(about.get("parameters") or ())
    return _Subject(name, kind, about.get("module") or "", signature, parameters, docstring_parts(docstring))


def _answers(subject: _Subject, settings: PythonDocsQuestions) -> Iterator[tuple[str, str, str]]:
    """Kind of question, answer, and the parameter that is asked for (or nothing)."""
    if purpose := _purpose(subject, settings):
        yield "purpose", purpose, ""
    known = {name.lstrip("*") for name in subject.parameters}
    explained = [item for item in subject.parts.parameters if item.name.lstrip("*") in known]
    explained = [item for item in explained if _is_good(item.description, settings)]
    if subject.kind in {"class", "function", "method"}:
        if subject.parameters and len(subject.signature.split()) <= settings.max_answer_words:
            yield "call", f"Call it as `{subject.signature}`.", ""
        if explained:
            shown = [f"- `{item.name}`: {_sentence(item.description)}" for item in explained]
            while len(" ".join(shown).split()) > settings.max_answer_words and len(shown) > 1:
                shown.pop()
            if len(shown) == len(explained):
                yield "parameters", "\n".join(shown), ""
            item = explained[_draw(f"parameter of {subject.name}") % len(explained)]
            kind = f" ({item.type})" if item.type and len(item.type) <= 60 else ""
            yield "parameter", f"`{item.name}`{kind}: {_sentence(item.description)}", item.name
        if subject.parts.returns and _is_good(subject.parts.returns, settings):
            yield "result", _stopped(subject.parts.returns), ""
    if subject.kind in {"class", "function"} and "." in subject.module:
        short = subject.name.removeprefix(f"{subject.module}.")
        yield "module", f"From `{subject.module}`: `from {subject.module} import {short.split('.')[0]}`.", ""


def _purpose(subject: _Subject, settings: PythonDocsQuestions) -> str:
    taken: list[str] = []
    words = 0
    for paragraph in subject.parts.paragraphs[:3]:
        words += len(paragraph.split())
        if words > settings.max_answer_words or paragraph.endswith(":"):
            break
        taken.append(_sentence(paragraph))
    answer = "\n\n".join(taken)
    return answer if taken and _is_good(answer, settings) else ""


def _is_good(answer: str, settings: PythonDocsQuestions) -> bool:
    words = answer.split()
    return (
        settings.min_answer_words <= len(words) <= settings.max_answer_words
        and not _JUNK.match(answer)
        and 2 * len(_WORD.findall(answer)) >= len(words)  # tables, formulas and dumps are mostly no words
    )


def _sentence(text: str) -> str:
    return _stopped(text[:1].upper() + text[1:])


def _stopped(text: str) -> str:
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def _draw(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
