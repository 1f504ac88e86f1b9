"""Token datasets from and to other programs' formats: no recipe, no run directory, only files."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from jobs.terminal import ShardProgress, done, headline, note, show_table, shown
from pipeline.errors import SettingError
from pipeline.interrupts import StopRequest
from pipeline.tokens.settings import TokensSettings

Boundaries = Literal["rows", "end-of-text"]


def import_dataset(
    source: str,
    target: str,
    tokenizer: str,
    overrides: Sequence[str],
    name: str | None,
    column: str,
    boundaries: Boundaries,
    end_of_text: str,
) -> None:
    """Write a token dataset to the folder `target`, or find it written.

    Raises:
        SettingError: an override is no setting of the tokens step.
        UserError: the source or the tokenizer cannot be used.
    """
    from pipeline.engine import Engine
    from pipeline.tokens.importing import import_tokens

    settings = tokens_settings(overrides)
    headline("import", f"{source} as rows of {settings.context_length} tokens, packing {settings.packing}")
    with StopRequest() as stop, Engine(None, ShardProgress(), stop) as engine:
        manifest = import_tokens(
            source,
            tokenizer,
            target,
            settings,
            engine,
            name=name,
            column=column,
            boundaries=boundaries,
            end_of_text=end_of_text,
        )
    rows = [
        (split, f"{entry['documents']:,}", f"{entry['target_tokens']:,}", f"{entry['rows']:,}")
        for split, entry in manifest["splits"].items()
    ]
    show_table("", ("split", "documents", "tokens", "rows"), rows)
    if inside := manifest["end_of_text_inside_documents"]:
        note(
            f"{inside:,} end-of-text tokens stand inside documents: if rows hold several documents each, import them "
            "again with --documents end-of-text"
        )
    done("import", f"{manifest['splits']['train']['target_tokens']:,} tokens to train on in {shown(target)}")


def export_dataset(source: str, target: str) -> None:
    """Write a token dataset as Megatron's .bin and .idx.

    Raises:
        UserError: the dataset is unfinished or damaged, or a file is there already.
    """
    from pipeline.tokens.exporting import export_tokens

    headline("export", f"{shown(source)} as Megatron .bin and .idx")
    written = export_tokens(source, target)
    rows = [(f"{shown(split.prefix)}.bin", f"{split.documents:,}", f"{split.tokens:,}") for split in written]
    show_table("", ("file", "documents", "tokens"), rows)
    done("export", shown(target))


def tokens_settings(overrides: Sequence[str]) -> TokensSettings:
    """The settings of the tokens step, with `key=value` words for those that differ from the default.

    Raises:
        SettingError: a word is none of these; says what was meant.
    """
    values: dict[str, Any] = {}
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals:
            raise SettingError(f"{word}: settings are given as key=value, such as context_length=2048")
        if key not in TokensSettings.model_fields:
            close = difflib.get_close_matches(key, TokensSettings.model_fields, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(TokensSettings.model_fields)}"
            raise SettingError(f"{key} is no setting of tokens: {hint}")
        values[key] = yaml.safe_load(text)
    try:
        return TokensSettings(**values)
    except ValidationError as fault:
        first = fault.errors()[0]
        raise SettingError(f"{first['loc'][0]}: {first['msg']}, not {first['input']!r}") from fault
