"""What a run would do: checked and printed before anything is done (`--dry-run`).

`check_environment` also runs before every real job: a missing package is found in the first second, not in the
third hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from jobs.recipe import LoadedRecipe, RecipeError
from jobs.run_directory import RunDirectory
from jobs.terminal import console, done, note, show_table, size
from pipeline.corpus import plan_passes, plan_slices
from pipeline.errors import UserError
from trainer.devices import count_cores, count_gpus
from trainer.model.declaration import parameter_count
from trainer.parallel.layout import plan_layout

_TRAINING_STEPS = ("pretrain", "finetune")
_TRAINING_PACKAGES = ("torch", "deepspeed", "safetensors")


def check_environment(steps: Sequence[str]) -> None:
    """Make sure that the packages of all steps are there.

    Raises:
        UserError: names the missing packages and the command that installs them.
    """
    if any(step in _TRAINING_STEPS for step in steps):
        missing = [name for name in _TRAINING_PACKAGES if find_spec(name) is None]
        if missing:
            raise UserError(f"training needs {', '.join(missing)}: pip install 'gptmill[train]'")


def show_plan(loaded: LoadedRecipe, steps: Sequence[str]) -> None:
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
        )
        note(f"input: {len(slices)} slices, {size(total)} as stored; each pass reads and writes every shard once")
    rows: list[tuple[str, str]] = []
    if recipe.tokenizer is not None and "tokenizer" in steps:
        rows.append(("tokenizer", f"{recipe.tokenizer.vocab_size:,} tokens, {recipe.tokenizer.pre_tokenization}"))
    if recipe.tokens is not None and "tokens" in steps:
        rows.append(("tokens", f"rows of {recipe.tokens.context_length} tokens"))
    rows += _training_rows(loaded, steps)
    if rows:
        show_table("then", ("step", ""), rows)
    done("plan", "everything checked; run it without --dry-run")


def _training_rows(loaded: LoadedRecipe, steps: Sequence[str]) -> list[tuple[str, str]]:
    recipe = loaded.recipe
    if recipe.pretrain is None or recipe.model is None or recipe.tokens is None or recipe.tokenizer is None:
        return []
    rows: list[tuple[str, str]] = []
    shape = recipe.model.shaped(recipe.tokenizer.vocab_size, recipe.tokens.context_length)
    if "pretrain" in steps:
        try:
            layout = plan_layout(recipe.pretrain, recipe.tokens.context_length, gpus=count_gpus(), cores=count_cores())
        except (UserError, ValueError) as fault:
            raise RecipeError(f"{loaded.path}: pretrain: {fault}") from fault
        rows.append(("model", f"{parameter_count(shape):,} parameters, {shape.layers} layers, width {shape.width}"))
        rows.append(
            (
                "pretrain",
                f"{layout.world} processes, ZeRO-{layout.zero}, {layout.rows_per_step} rows a step in micro-batches of "
                f"{layout.micro_batch_size} ({layout.accumulation_steps} a process)",
            )
        )
    if "finetune" in steps and recipe.finetune is not None:
        rows.append(("finetune", recipe.finetune.data or "questions made from the corpus"))
    return rows
