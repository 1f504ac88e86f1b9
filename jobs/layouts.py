"""`gptmill layouts`: what works together and what does not, from the table that every plan reads; with a recipe, the
layouts that it could have on given devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from jobs.recipe import Recipe, RecipeError, load_recipe
from jobs.terminal import console, note, show_table, size
from jobs.training_plan import Target, model_shape, named_target
from trainer.estimate import USABLE, Estimate, estimate_training
from trainer.parallel.compatibility import LayoutRefused, divisors
from trainer.parallel.layout import Layout, plan_layout
from trainer.parallel.refusals import REFUSALS, combinations
from trainer.settings import ModelShape, PretrainSettings

MOST_LINES = 24
MOST_TENSOR = 8
"""Tensor ranks beyond this are no longer on one node, whose links their messages need."""


def show_layouts() -> None:
    """Print to stdout what is combined with which ZeRO stage, then every refusal with its reason."""
    output = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("", *(f"zero {stage}" for stage in range(4))):
        table.add_column(column)
    numbers = {refusal.what: number for number, refusal in enumerate(REFUSALS, start=1)}
    for way, refusals in combinations():
        table.add_row(way, *("yes" if what is None else f"[red]no[/red] ({numbers[what]})" for what in refusals))
    output.print(table)
    output.print("\nRefused, before anything is started:\n")
    for number, refusal in enumerate(REFUSALS, start=1):
        output.print(f"[bold]{number}. {escape(refusal.what)}[/bold]")
        output.print(Padding(escape(f"{refusal.reason[0].upper()}{refusal.reason[1:]}."), (0, 0, 0, 4), expand=False))
        output.print(Padding(escape(f"{refusal.remedy[0].upper()}{refusal.remedy[1:]}."), (0, 0, 0, 4), expand=False))
    output.print("\nEverything else is supported. `gptmill layouts RECIPE --devices N` lists what a recipe could use.")


def show_layouts_of(name: str, overrides: Sequence[str], devices: int | None, device: str | None) -> None:
    """Print the layouts in which a recipe's pretraining could run on these devices, each with the lowest ZeRO stage
    that fits.

    Raises:
        RecipeError: the recipe has no model to pretrain, or no layout is possible.
    """
    recipe = load_recipe(name, overrides).recipe
    shape = model_shape(recipe)
    if recipe.pretrain is None or shape is None:
        raise RecipeError("the recipe pretrains no model: it needs the sections tokenizer, tokens, model and pretrain")
    target = named_target(devices, device)
    world = target.devices or target.most_gpus or 1
    memory = None if target.device is None else target.device.memory_bytes
    found = [_lowest_stage(estimates, memory) for estimates in _possible(recipe, shape, world, target)]
    if not found:
        raise RecipeError(f"there is no layout of {world} processes: `--dry-run --devices {world}` says what is wrong")
    found.sort(
        key=lambda item: (memory is not None and not item.fits(memory), item.layout.tensor, item.layout.pipeline)
    )
    console.print(f"{recipe.run}: {found[0].parameter_count:,} parameters on {world:,} processes")
    show_table("", _COLUMNS, [_line(estimate, memory) for estimate in found[:MOST_LINES]])
    if len(found) > MOST_LINES:
        note(f"and {len(found) - MOST_LINES} more")
    if target.device is not None:
        note(f"{target.device.name}: {size(target.device.memory_bytes)}, of which {USABLE:.0%} are planned with")
    note("tensor ranks also share out the tokens (sequence: true); sent: by a process in a step")


_COLUMNS = ("data", "pipeline", "tensor", "zero", "micro-batches", "memory", "fits", "bubble", "sent")


def _line(estimate: Estimate, memory: int | None) -> tuple[Any, ...]:
    layout, traffic = estimate.layout, estimate.traffic
    fits = "" if memory is None else "yes" if estimate.fits(memory) else "no"
    sent = size(traffic.data + traffic.tensor + traffic.pipeline)
    micro_batches = f"{layout.accumulation_steps} x {layout.micro_batch_size}"
    held = size(estimate.fullest.total)
    return (
        layout.data,
        layout.pipeline,
        layout.tensor,
        layout.zero,
        micro_batches,
        held,
        fits,
        f"{estimate.bubble:.1%}",
        sent,
    )


def _possible(recipe: Recipe, shape: ModelShape, world: int, target: Target) -> Iterator[list[Estimate]]:
    """For each way to divide the processes, the estimates with the ZeRO stages that are allowed, ascending."""
    settings = recipe.pretrain
    assert settings is not None
    for tensor in divisors(world):
        for pipeline in divisors(world // tensor) if tensor <= MOST_TENSOR else []:
            planned = [_planned(settings, shape, world, tensor, pipeline, zero) for zero in (1, 2, 3)]
            estimates = [
                estimate_training(shape, settings, layout, precision=target.precision(settings), cuda=target.is_gpu)
                for layout in planned
                if layout is not None
            ]
            if estimates:
                yield estimates


def _planned(
    settings: PretrainSettings, shape: ModelShape, world: int, tensor: int, pipeline: int, zero: int
) -> Layout | None:
    """The layout, with the largest micro-batch up to the recipe's that divides a copy's rows; None when refused."""
    rows_per_copy, rest = divmod(settings.rows_per_step(shape.context_length) * tensor * pipeline, world)
    if rest or not rows_per_copy:
        return None
    micro_batch = max(size for size in divisors(rows_per_copy) if size <= settings.micro_batch_size)
    parallel = settings.parallel.model_copy(
        update={"data": None, "tensor": tensor, "pipeline": pipeline, "sequence": tensor > 1}
    )
    changed = settings.model_copy(update={"parallel": parallel, "zero": zero, "micro_batch_size": micro_batch})
    try:
        return plan_layout(changed, shape.context_length, gpus=0, cores=1, model=shape, devices=world)
    except LayoutRefused:
        return None


def _lowest_stage(estimates: list[Estimate], memory: int | None) -> Estimate:
    """The first that fits, or if none does the one that takes least."""
    fitting = [estimate for estimate in estimates if memory is None or estimate.fits(memory)]
    return fitting[0] if fitting else min(estimates, key=lambda estimate: estimate.fullest.total)
