"""`gptmill generate` and `gptmill chat`: text from a run's models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from jobs.recipe import RecipeError, load_recipe
from jobs.run_directory import RunDirectory
from jobs.terminal import console, note
from pipeline import storage
from pipeline.errors import UserError
from trainer.generate.settings import GenerateSettings

if TYPE_CHECKING:
    from trainer.generate.generator import Generator


def generate_once(name: str, prompt: str, raw: bool, changes: dict[str, Any]) -> None:
    """Answer a question, or continue a text, on stdout."""
    settings = _settings(name, changes)
    generator = _load(name, "pretrain" if raw else "finetune")
    if raw:
        print(prompt, end="")
        pieces = generator.stream(prompt, settings)
    else:
        from trainer.finetune.template import Message

        pieces = generator.chat([Message("user", prompt)], settings)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def chat_loop(name: str) -> None:
    """Ask and answer until the user ends it."""
    settings = _settings(name, {})
    generator = _load(name, "finetune")
    from trainer.generate.chat import Chat

    chat = Chat(generator, settings)
    note("ask away; /new forgets the conversation, Ctrl-D ends it")
    while True:
        try:
            question = console.input("[bold cyan]you[/bold cyan]  ").strip() if sys.stdin.isatty() else input().strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if question == "/new":
            chat.forget()
            continue
        if not question:
            continue
        try:
            for piece in chat.ask(question):
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            # Ctrl-C ends the answer, not the conversation.
            pass
        print("\n")


def _settings(name: str, changes: dict[str, Any]) -> GenerateSettings:
    """What the run's recipe says about drawing, with the changes of the command line."""
    resolved = Path(name) / "resolved.yaml"
    given = load_recipe(str(resolved)).recipe.generate if resolved.is_file() else GenerateSettings()
    try:
        return GenerateSettings.model_validate({**given.model_dump(), **changes})
    except ValidationError as fault:
        first = fault.errors()[0]
        raise RecipeError(
            f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}, got {first['input']!r}"
        ) from fault


def _load(name: str, step: str) -> Generator:
    model = storage.join(RunDirectory(name).url, step, "model")
    if not storage.exists(storage.join(model, "model.json")):
        raise UserError(
            f"{name} has no finished model of the step {step}: run `gptmill run` with its recipe"
            + ("" if step == "pretrain" else ", or continue a text with the pretrained model: --raw")
        )
    from trainer.generate.generator import load_generator

    return load_generator(Path(model))
