"""What a docstring says of its object: description, parameters and result, in the styles that people write.

NumPy (underlined headings), Google (`Args:` and an indented block) and reST (`:param name:`) are told apart line by
line, so docstrings that mix them are read too. What is no prose (examples, tables, directives) is left out: the
parts become sentences of an answer.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

_PARAMETER_SECTIONS = frozenset({"parameters", "args", "arguments", "params", "other parameters"})
_PARAMETER_SECTIONS |= {"keyword args", "keyword arguments", "inputs"}
_RETURN_SECTIONS = frozenset({"returns", "return", "return value"})
_HEADING = re.compile(r"([A-Z][A-Za-z]*(?: [A-Za-z]+){0,2}):\s*$")
_UNDERLINE = re.compile(r"(-{3,}|={3,}|~{3,})\s*$")
_FIELD = re.compile(r"[:@](param|parameter|arg|argument|key|keyword|type|returns?|rtype|raises?|yields?)\b([^:]*):(.*)")
_NUMPY_ENTRY = re.compile(r"(\*{0,2}\w+(?:, ?\*{0,2}\w+)*)(?: ?: ?(.*))?$")
_GOOGLE_ENTRY = re.compile(r"`{0,2}(\*{0,2}\w+)`{0,2}\s*(?:\((.*?)\))?\s*:(?: +(.*))?$")
_NO_PROSE = re.compile(r">>>|\.\. |::|\$ |[|+#=*-]|\d+[.)] |In \[|def |class |import |from \w+ import |@\w")
_ROLE = re.compile(r":(?:[a-z]+:)?[a-z]+:`~?\.?([^`<]*?)(?: *<[^>]*>)?`")
_SHORT_REFERENCE = re.compile(r"`~\.?(?:\w+\.)*(\w+)`")
_LINK = re.compile(r"`([^`<]+?) *<[^>`]+>`_+")


@dataclass(frozen=True)
class Parameter:
    """One parameter as a docstring explains it."""

    name: str
    type: str
    """As written; may be empty."""
    description: str


@dataclass(frozen=True)
class DocstringParts:
    """What was understood of a docstring."""

    paragraphs: tuple[str, ...]
    """The prose from its beginning to the first thing that is no prose."""
    parameters: tuple[Parameter, ...]
    returns: str
    """What is returned; empty when the docstring does not say."""


def docstring_parts(docstring: str) -> DocstringParts:
    """Understand a docstring without common indentation."""
    description: list[str] = []
    parameters: list[Parameter] = []
    returns = ""
    lines = docstring.splitlines()
    at = 0
    while at < len(lines):
        if field := _FIELD.match(lines[at]):
            end = _end_of_block(lines, at + 1)
            text = _joined([field[3], *lines[at + 1 : end]])
            words = field[2].split()
            if field[1] in {"param", "parameter", "arg", "argument", "key", "keyword"} and words:
                parameters.append(Parameter(words[-1], " ".join(words[:-1]), text))
            elif field[1] in {"return", "returns"}:
                returns = returns or text
            at = end
            continue
        underlined = at + 1 < len(lines) and lines[at].strip() and _UNDERLINE.match(lines[at + 1])
        heading = _HEADING.match(lines[at])
        if underlined:
            end = _next_underlined(lines, at + 2)
            block = textwrap.dedent("\n".join(lines[at + 2 : end])).splitlines()
            title, entry = lines[at].strip().rstrip(":"), _NUMPY_ENTRY
        elif heading:
            end = _end_of_block(lines, at + 1)
            block = textwrap.dedent("\n".join(lines[at + 1 : end])).splitlines()
            title, entry = heading[1], _GOOGLE_ENTRY
        else:
            description.append(lines[at])
            at += 1
            continue
        if title.lower() in _PARAMETER_SECTIONS:
            parameters += _parameters(block, entry)
        elif title.lower() in _RETURN_SECTIONS:
            returns = returns or _returned(block, named_types=bool(underlined))
        if end == at + 1:  # a line that only looks like a heading
            description.append(lines[at])
        elif not description or description[-1]:
            description.append("")
        at = end
    return DocstringParts(_prose(description), tuple(parameters), returns)


def plain(text: str) -> str:
    """reST markup as Markdown: roles and double backticks become single backticks, links their text."""
    text = _ROLE.sub(lambda role: f"`{role[1].rsplit('.', 1)[-1] if '~' in role[0] else role[1]}`", text)
    return _SHORT_REFERENCE.sub(r"`\1`", _LINK.sub(r"\1", text).replace("``", "`"))


def _joined(lines: Sequence[str]) -> str:
    """The first paragraph of the lines as one line of plain text."""
    taken: list[str] = []
    for line in lines:
        if not line.strip() and taken:
            break
        if _NO_PROSE.match(line.strip()):
            break
        taken.append(line.strip())
    return plain(" ".join(" ".join(taken).split()))


def _end_of_block(lines: Sequence[str], start: int) -> int:
    """Index after the indented lines that begin at `start`."""
    at = end = start
    while at < len(lines) and (not lines[at].strip() or lines[at][0].isspace()):
        at += 1
        if lines[at - 1].strip():
            end = at
    return end


def _next_underlined(lines: Sequence[str], start: int) -> int:
    for at in range(start, len(lines) - 1):
        if lines[at].strip() and _UNDERLINE.match(lines[at + 1]):
            return at
    return len(lines)


def _entries(block: Sequence[str]) -> list[list[str]]:
    """Groups of a line without indentation and the indented lines below it."""
    groups: list[list[str]] = []
    for line in block:
        if line.strip() and not line[0].isspace():
            groups.append([line])
        elif groups:
            groups[-1].append(line)
    return groups


def _parameters(block: Sequence[str], entry: re.Pattern[str]) -> list[Parameter]:
    found = []
    for head, *below in _entries(block):
        if match := entry.match(head):
            first = [match[3] or ""] if entry is _GOOGLE_ENTRY else []
            description = _joined([*first, *below])
            kind = plain(match[2] or "").strip().rstrip(".")
            found += [Parameter(name.strip(), kind, description) for name in match[1].split(",")]
    return found


def _returned(block: Sequence[str], *, named_types: bool) -> str:
    groups = _entries(block)
    if not groups:
        return ""
    head, *below = groups[0]
    described = _joined(below)
    if not named_types:
        return _joined(block)
    kind = plain(head.rsplit(" : ", 1)[-1].strip())
    if described:
        return f"{kind}: {described}"
    return _joined(block) if " " in head and ":" not in head else kind


def _prose(lines: Sequence[str]) -> tuple[str, ...]:
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        if not paragraph.strip():
            continue
        if _NO_PROSE.match(paragraph.lstrip()) or paragraph.startswith("    "):
            break
        joined = _joined(paragraph.splitlines())
        paragraphs.append(joined.removesuffix(":") + ":" if joined.endswith("::") else joined)
    return tuple(paragraphs)
