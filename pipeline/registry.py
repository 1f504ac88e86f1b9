"""The names that a recipe may use for sources and stages, and the classes behind them.

The classes are the documentation: `gptmill stages` prints their docstrings and fields. A stage of the user's own is
named by its place, `my_package.my_module:MyFilter`. A module is imported when a recipe uses it.
"""

from __future__ import annotations

from typing import TypeVar

from pipeline.places import named_object
from pipeline.sources.source import Source
from pipeline.stage import Stage

Kind = TypeVar("Kind", Source, Stage)

SOURCES = {
    "arrow": "pipeline.sources.arrow:Arrow",
    "huggingface": "pipeline.sources.huggingface:HuggingFace",
    "jsonl": "pipeline.sources.jsonl:JsonLines",
    "parquet": "pipeline.sources.parquet:Parquet",
    "python-docs": "pipeline.sources.python_docs:PythonDocs",
    "text": "pipeline.sources.text:TextFiles",
    "warc": "pipeline.sources.warc:Warc",
}
STAGES = {
    "language": "pipeline.filters.language.stage:Language",
    "gopher_quality": "pipeline.filters.gopher_quality:GopherQuality",
    "gopher_repetition": "pipeline.filters.gopher_repetition:GopherRepetition",
    "c4": "pipeline.filters.c4:C4",
    "mc4": "pipeline.filters.mc4:MC4",
    "fineweb": "pipeline.filters.fineweb:FineWeb",
    "perplexity": "pipeline.perplexity.stage:Perplexity",
    "chinese_web_text": "pipeline.filters.chinese_web_text:ChineseWebText",
    "bigscience": "pipeline.filters.bigscience:BigScience",
    "fineweb2": "pipeline.filters.fineweb2:FineWeb2",
    "refinedweb": "pipeline.filters.refinedweb:RefinedWeb",
    "code": "pipeline.filters.code:SourceCode",
    "broken_text": "pipeline.filters.broken_text:BrokenText",
    "keywords": "pipeline.filters.lists.keywords:Keywords",
    "url_blocklist": "pipeline.filters.lists.url_blocklist:UrlBlocklist",
    "exact_dedup": "pipeline.dedup.exact:ExactDedup",
    "minhash_dedup": "pipeline.dedup.minhash:MinhashDedup",
    "text_index": "pipeline.dedup.text_index:TextIndex",
    "known_texts": "pipeline.dedup.text_index:KnownTexts",
    "rehydrate": "pipeline.dedup.rehydration:Rehydrate",
    "line_dedup": "pipeline.dedup.lines:LineDedup",
    "span_dedup": "pipeline.dedup.spans:SpanDedup",
    "substring_dedup": "pipeline.dedup.substring:SubstringDedup",
    "decontaminate": "pipeline.decontamination.stage:Decontaminate",
    "pii": "pipeline.pii.stage:Pii",
}


def source_class(name: str) -> type[Source]:
    """The class of a source kind.

    Raises:
        LookupError: there is no such source; the message lists those there are.
    """
    return _load(name, SOURCES, Source, "source")  # type: ignore[type-abstract]


def stage_class(name: str) -> type[Stage]:
    """The class of a stage, ours by name or the user's by `module:Class`.

    Raises:
        LookupError: there is no such stage; the message lists those there are.
    """
    return _load(name, STAGES, Stage, "stage")


def _load(name: str, known: dict[str, str], base: type[Kind], what: str) -> type[Kind]:
    place = known.get(name, name)
    if ":" not in place:
        raise LookupError(f"there is no {what} `{name}`; known: {', '.join(sorted(known))}; your own: module:Class")
    try:
        found = named_object(place)
    except LookupError as fault:
        raise LookupError(f"{what} `{name}`: {fault}") from fault
    if not (isinstance(found, type) and issubclass(found, base)):
        raise LookupError(f"{what} `{name}` is no subclass of {base.__module__}.{base.__name__}")
    return found
