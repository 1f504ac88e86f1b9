"""The commands that let a run's model speak, and that carry models from and to other programs."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from jobs.commands.options import RunName


def generate(
    run: RunName,
    prompt: Annotated[str, typer.Argument(help="What to answer, or with --raw to continue.")],
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text with the pretrained model, no chat.")] = False,
    temperature: Annotated[float | None, typer.Option(help="0: always the likeliest token.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens; 0: from all.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest tokens of this total share.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Stop after so many tokens.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same text.")] = None,
) -> None:
    """Let a run's model answer a question, or continue a text."""
    from jobs.generate import generate_once

    changes = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    generate_once(run, prompt, raw, {key: value for key, value in changes.items() if value is not None})


def chat(run: RunName) -> None:
    """Talk with a run's tuned model."""
    from jobs.generate import chat_loop

    chat_loop(run)


def export_model(
    run: RunName,
    directory: Annotated[str, typer.Argument(help="New directory for the model.")],
    step: Annotated[
        Literal["pretrain", "finetune"] | None,
        typer.Option(help="Which of the run's models. Not given: the tuned one where there is one."),
    ] = None,
) -> None:
    """Write a run's model for Hugging Face's transformers: `AutoModelForCausalLM.from_pretrained(DIRECTORY)`.

    GPT-2's or Llama's architecture, with the tokenizer. Where transformers is installed, nothing is written unless its
    logits are ours. RUN may also be a `model` directory.
    """
    from jobs.export import export_model as export

    export(run, directory, step)


def import_model(
    source: Annotated[str, typer.Argument(help="Directory with config.json and safetensors, of GPT-2 or Llama.")],
    directory: Annotated[str, typer.Argument(help="New directory for the model.")],
    tokenizer: Annotated[str | None, typer.Option(help="Its tokenizer.json, where SOURCE has none.")] = None,
) -> None:
    """Read a model that Hugging Face's transformers has saved; `pretrain.init_from=DIRECTORY` starts from it."""
    from jobs.export import import_model as read

    read(source, directory, tokenizer)
