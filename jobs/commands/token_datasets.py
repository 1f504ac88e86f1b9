"""The commands that carry token datasets from and to other programs."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def import_tokens(
    source: Annotated[
        str, typer.Argument(help="Prefix of a Megatron .bin/.idx pair, or files with a column of token ids.")
    ],
    target: Annotated[str, typer.Argument(help="Folder of the new token dataset, such as runs/mine/tokens.")],
    tokenizer: Annotated[str, typer.Option(help="The tokenizer.json that the tokens were made with.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the recipe's tokens section: context_length=2048."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name among sources; else the last part of SOURCE.")] = None,
    column: Annotated[str, typer.Option(help="Column of the token ids, in Arrow and Parquet files.")] = "input_ids",
    documents: Annotated[
        Literal["rows", "end-of-text"],
        typer.Option(help="rows: each row is a document. end-of-text: rows are a stream, cut at end-of-text tokens."),
    ] = "rows",
    end_of_text: Annotated[str, typer.Option(help="The token that closes a document.")] = "<|endoftext|>",
) -> None:
    """Make a token dataset of tokens that another program wrote.

    SOURCE is what Megatron-LM's preprocess_data wrote (`data/my_text_document`, with or without .bin), or a file, a
    folder or a pattern of Arrow or Parquet files, also a folder of `datasets.save_to_disk`. The documents are
    shuffled, split and packed as those of a corpus are.

    gptmill import-tokens data/my_text_document runs/mine/tokens --tokenizer gpt2/tokenizer.json packing=best_fit
    """
    from jobs.exchange import import_dataset

    import_dataset(source, target, tokenizer, settings or [], name, column, documents, end_of_text)


def export_tokens(
    source: Annotated[str, typer.Argument(help="A token dataset, such as runs/mine/tokens.")],
    target: Annotated[str, typer.Argument(help="Folder for train.bin, train.idx, validation.bin, validation.idx.")],
) -> None:
    """Write a token dataset as Megatron-LM's .bin/.idx, one document an entry, in the order of the rows.

    Files that are there already are not overwritten.
    """
    from jobs.exchange import export_dataset

    export_dataset(source, target)
