"""What a run would do: checked and printed before anything is done (`--dry-run`).

`check` also runs before every real job: a missing package is found in the first second, not in the
third hour.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib.util import find_spec

from jobs.estimate import show_trainings
from jobs.launching import HERE, Launching
from jobs.mixture import show_mixture
from jobs.next_start import show_next_starts
from jobs.recipe import LoadedRecipe, Recipe, RecipeError
from jobs.run_directory import RunDirectory
from jobs.terminal import console, done, note, show_table, size
from jobs.tokens import packing_of
from jobs.training_plan import Target, plan_trainings
from pipeline import storage
from pipeline.corpus import plan_passes, plan_slices
from pipeline.dedup.keeping import KeepingStage
from pipeline.errors import UserError
from pipeline.sources.content_size import content_bytes
from trainer.data.mixed_rows import OWN, RunData, plan_run
from trainer.data.token_dataset import find_dataset

_TRAINING_STEPS = ("pretrain", "finetune")
_TRAINING_PACKAGES = ("torch", "deepspeed", "safetensors")


def check(loaded: LoadedRecipe, steps: Sequence[str], target: Target) -> None:
    """Make sure that the packages and files of all steps are there and that the layouts work on `target`.

    Raises:
        UserError: names the missing packages and the command that installs them, or the missing file.
        RecipeError: a layout is not supported; everything that is wrong with it.
    """
    recipe = loaded.recipe
    named = [(stage.name, path) for stage in recipe.stages for path in stage.files()] if "corpus" in steps else []
    if "finetune" in steps and recipe.finetune and recipe.finetune.data and not target.is_elsewhere:
        named.append(("finetune.data", recipe.finetune.data))
    if absent := [f"{where}: {path} does not exist" for where, path in named if not storage.exists(path)]:
        raise RecipeError("\n".join(absent))
    if "corpus" in steps and (unknown := _unknown_sources(recipe)):
        raise RecipeError("\n".join(unknown))
    plan_trainings(loaded, steps, target)
    if "pretrain" in steps and not target.is_elsewhere:
        pretraining_data(loaded, steps)
    if any(step in _TRAINING_STEPS for step in steps):
        missing = [name for name in _TRAINING_PACKAGES if find_spec(name) is None]
        if missing:
            raise UserError(f"training needs {', '.join(missing)}: pip install 'gptmill[train]'")


def _unknown_sources(recipe: Recipe) -> list[str]:
    """Sources that stages prefer and that the recipe does not have: a misspelt one would silently prefer nothing."""
    if any(type(source).__module__.split(".")[0] != "pipeline" for source in recipe.sources):
        # A source of the user may name its documents as it likes.
        return []
    labels = [source.label for source in recipe.sources]
    found = []
    for stage in recipe.stages:
        for name in stage.keep_sources if isinstance(stage, KeepingStage) else []:
            if name not in labels:
                close = difflib.get_close_matches(name, labels, 1)
                hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(labels)}"
                found.append(f"{stage.name}: keep_sources: no source is named {name}; {hint}")
    return found


def show_plan(loaded: LoadedRecipe, steps: Sequence[str], target: Target, launching: Launching = HERE) -> None:
    """Print what each step would do, after checking all that can be checked without doing it."""
    recipe = loaded.recipe
    console.print(f"[bold]{loaded.path}[/bold] -> {RunDirectory(recipe.run).url}")
    if "corpus" in steps:
        slices = plan_slices(recipe.sources)
        total = sum(item.weight for item in slices)
        passes = plan_passes(recipe.stages)
        show_table(
            "corpus",
            ("pass", "shards", "stages"),
            [(f"corpus/{planned.name}", len(slices), planned.label) for planned in passes],
            prose="stages",
        )
        content = content_bytes([item.part for item in slices])
        stored = size(total) if content == total else f"{size(total)} as stored, about {size(content)} decompressed"
        note(f"input: {len(slices)} slices, {stored}; each pass reads and writes every shard once")
        for stage in recipe.stages:
            for line in stage.plan_lines(content, len(slices)):
                note(f"{stage.name}: {line}")
    rows: list[tuple[str, str]] = []
    if recipe.tokenizer is not None and "tokenizer" in steps:
        rows.append(("tokenizer", f"{recipe.tokenizer.vocab_size:,} tokens, {recipe.tokenizer.pre_tokenization}"))
    if recipe.tokens is not None and "tokens" in steps:
        rows.append(("tokens", packing_of(recipe.tokens)))
    if rows:
        show_table("then", ("step", "what"), rows, prose="what")
    data = None
    try:
        data = pretraining_data(loaded, steps) if "pretrain" in steps else None
    except UserError as fault:
        if not target.is_elsewhere:
            raise
        note(f"not looked at, since it is not on this machine: {fault}")
    is_rewritten = "tokens" in steps
    show_trainings(loaded, steps, target, None if is_rewritten else data)
    if data is not None:
        if is_rewritten:
            note("of the run's own token dataset as it is now; the tokens step may change it:")
        show_mixture(data.plan.table())
        if data.bytes_to_fetch > data.settings.shard_cache_bytes:
            note(
                f"{size(data.bytes_to_fetch)} lie in object stores and pretrain.shard_cache_bytes is "
                f"{size(data.settings.shard_cache_bytes)}: rows come in random order, so nearly every row would cost a "
                "fetch; raise it, or copy the datasets to a file system"
            )
    show_next_starts(recipe, steps, target, launching)
    done("plan", "everything checked; run it without --dry-run")


def pretraining_data(loaded: LoadedRecipe, steps: Sequence[str]) -> RunData | None:
    """What pretraining draws from which dataset; None where that is not known before the tokens step.

    Raises:
        UserError: a dataset is not there, two do not fit together, or the mixture cannot be drawn from them.
        RecipeError: the dataset's rows are not as long as the recipe says.
    """
    settings = loaded.recipe.pretrain
    if settings is None:
        return None
    for entry in settings.mixture:
        if entry.data != OWN:
            find_dataset(entry.data)
    try:
        data = plan_run(settings, RunDirectory(loaded.recipe.run).tokens)
    except UserError:
        if "tokens" in steps:
            return None  # the run's own dataset is still to be written
        raise
    found, asked = data.datasets[0], loaded.recipe.tokens
    if "tokens" not in steps and asked is not None and found.context_length != asked.context_length:
        raise RecipeError(
            f"{found.url} has rows of {found.context_length} tokens, the recipe's tokens.context_length is "
            f"{asked.context_length}: run the tokens step again, or set it back"
        )
    return data
